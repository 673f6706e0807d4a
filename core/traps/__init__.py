"""Tasks with something wrong in them, made from a pocket task: what an honest researcher must notice, or must not claim."""
