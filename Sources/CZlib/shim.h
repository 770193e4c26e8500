// The system's zlib, for the compressed entries of zip containers (torch checkpoints, NPZ).
#include <zlib.h>
