#pragma once

#include <cuda_runtime_api.h>

#include "engine/backend/random_fill.h"

namespace skipstone::cuda {

// The elements of FillUniform (engine/backend/random_fill.h), bit by bit. `matrix` is 16-bit;
// `elements` is a multiple of 8, `to` aligned to 16 bytes. Moves 2 bytes per element.
cudaError_t LaunchRandomFill(const RandomMatrix& matrix, int64_t elements, void* to,
                             cudaStream_t stream);

}  // namespace skipstone::cuda
