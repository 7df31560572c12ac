"""Motion compensation: predict each frame from others before embedding, and undo it afterwards.

A network of a few layers finds in one picture what it saw in another a few pixels away, and no
farther. So frames are aligned with the reference frame first. In stereo pairs of earlier versions
the second view counts as a frame, and its disparity as motion.

::

    frames, uint8
      |  phase_correlation.py   one shift per picture                    (Kuglin and Hines, 1975)
      |  lucas_kanade.py        dense flow, from coarse to fine octaves  (Lucas and Kanade, 1981)
      |  vector_refinement.py   one vector per cell, by rate and distortion
      |  estimation.py          runs these three; chooses blend weights
      v
    MotionField (field.py)      vectors and blend weights; its bytes travel in the PNG
      |  warping.py             samples a picture along the vectors
      |  lifting.py             frames <-> frames with the prediction subtracted
      v                                                                  (Secker and Taubman, 2001)
    network
"""
