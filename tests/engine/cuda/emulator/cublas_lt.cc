// The emulator's cuBLASLt is there from the start.
#include "engine/cuda/cublas_lt.h"

namespace skipstone::cuda {

absl::Status LoadCublasLt() { return absl::OkStatus(); }

}  // namespace skipstone::cuda
