"""Sound in and out: any file or pipe, block by block, so in constant memory.

`reading` opens what `libsndfile` or, where it is installed, `ffmpeg` decodes; `writing`
is its counterpart. `formats` says which format a result gets, `channels` and `band`
how recordings of several channels and of more than 16 kHz go through a network that
hears one channel at 16 kHz.
"""
