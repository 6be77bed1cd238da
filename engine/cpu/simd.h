// Include before hwy/foreach_target.h: which instruction sets the kernels are compiled for. The
// best that the CPU has is chosen at run time; results are bitwise reproducible per instruction
// set, not across them.
#pragma once

// SSSE3 alone serves no CPU of the last 15 years that SSE4 does not.
#undef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS HWY_SSSE3
