# Where corpora lie; options of run.sh override them. Empty: not there.
# shellcheck shell=bash disable=SC2034

LIBRISPEECH= # folder(s) in LibriSpeech's layout
NOISE=       # folder of noise recordings
RIR=         # folder of measured room responses (optional)
