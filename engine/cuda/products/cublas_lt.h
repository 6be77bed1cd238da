// cuBLASLt, loaded when a device is first used instead of with the program: its 94 KB of static
// thread-local storage would be taken from the stack of every thread, and a program that serves
// from the CPU needs no library of a quarter of a gigabyte. In this namespace the functions of
// <cublasLt.h> that are listed below are those of the loaded library.
#pragma once

#include <cublasLt.h>

#include "absl/status/status.h"

// clang-format off
#define SKIPSTONE_CUBLAS_LT_FUNCTIONS(F)                                                         \
  F(cublasLtGetVersion) F(cublasLtCreate) F(cublasLtDestroy) F(cublasLtMatmul)                   \
  F(cublasLtMatmulAlgoGetHeuristic) F(cublasLtMatmulAlgoCheck)                                   \
  F(cublasLtMatmulDescCreate) F(cublasLtMatmulDescDestroy) F(cublasLtMatmulDescSetAttribute)     \
  F(cublasLtMatrixLayoutCreate) F(cublasLtMatrixLayoutDestroy)                                   \
  F(cublasLtMatrixLayoutSetAttribute)                                                            \
  F(cublasLtMatmulPreferenceCreate) F(cublasLtMatmulPreferenceDestroy)                           \
  F(cublasLtMatmulPreferenceSetAttribute)
// clang-format on

namespace skipstone::cuda {

// NOT_FOUND with the loader's reason. The functions may be called after it returned OK.
// Thread-safe.
absl::Status LoadCublasLt();
// The library's function of that name.
void* CublasLtFunction(const char* name);

#define SKIPSTONE_CUBLAS_LT(name)                                                              \
  inline constexpr auto name = [](auto... args) {                                              \
    static const auto function = reinterpret_cast<decltype(&::name)>(CublasLtFunction(#name)); \
    return function(args...);                                                                  \
  };
SKIPSTONE_CUBLAS_LT_FUNCTIONS(SKIPSTONE_CUBLAS_LT)
#undef SKIPSTONE_CUBLAS_LT

}  // namespace skipstone::cuda
