"""Sans-IO parts that cores of several services share."""
