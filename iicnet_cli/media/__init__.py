"""Files in, pixels out, and back: stills, clips, stereo pairs and layered pictures.

Stills are read and written by `stills`. Clips are read by `video_reader` and written by
`video_writer`. `stereo_formats`, `layered_files` and `audio` cover what their names say. Every
picture that this package returns is upright 8-bit sRGB, and every conversion that changed it is
reported in a note.

A clip can be a video file, an animation or a sequence of stills. `frame_source` defines what all
three offer: facts (`VideoInfo`) and frames (`FrameSource`). Only `video_file`, `clip_probe`
and `audio` know that video files are read by ffmpeg and its libraries.
"""
