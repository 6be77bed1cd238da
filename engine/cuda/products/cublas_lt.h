// cuBLASLt, loaded when a device is first used instead of with the program: its 94 KB of static
// thread-local storage would be taken from the stack of every thread, and a program that serves
// from the CPU needs no library of a quarter of a gigabyte. cublas_lt.cc defines the functions of
// <cublasLt.h> that this folder calls, and forwards them.
#pragma once

#include <cublasLt.h>

#include "absl/status/status.h"

namespace skipstone::cuda {

// NOT_FOUND with the loader's reason. The functions may be called after it returned OK.
// Thread-safe.
absl::Status LoadCublasLt();

}  // namespace skipstone::cuda
