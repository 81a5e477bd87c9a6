"""Sound in and out: any file or pipe, block by block, so in constant memory.

`reading` opens what `libsndfile` or, where it is installed, `ffmpeg` decodes; `writing`
is its counterpart; `formats` says which format a result gets.
"""
