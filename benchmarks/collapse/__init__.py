"""Does the watch on collapse stop runs that are lost, name the stage, and leave others alone?"""
