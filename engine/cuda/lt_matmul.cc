#include "engine/cuda/lt_matmul.h"

#include "absl/strings/str_format.h"
#include "engine/base/status.h"

namespace skipstone::cuda {
namespace {

// What NVIDIA recommends for Hopper.
constexpr int64_t kWorkspaceBytes = int64_t{32} << 20;
constexpr uint32_t kAlignment = 16;

absl::Status LtStatus(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
  return absl::InternalError(
      absl::StrFormat("%s: cuBLASLt status %d", what, static_cast<int>(status)));
}

cudaDataType_t TypeOf(DType type) { return type == DType::kBF16 ? CUDA_R_16BF : CUDA_R_16F; }

struct DestroyPreference {
  void operator()(cublasLtMatmulPreference_t p) const { cublasLtMatmulPreferenceDestroy(p); }
};
using Preference = std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, DestroyPreference>;

template <class V>
absl::Status SetPreference(const Preference& preference, cublasLtMatmulPreferenceAttributes_t name,
                           V value) {
  return LtStatus(
      cublasLtMatmulPreferenceSetAttribute(preference.get(), name, &value, sizeof(value)),
      "preference");
}

absl::StatusOr<Preference> MakePreference() {
  cublasLtMatmulPreference_t raw = nullptr;
  SKIPSTONE_RETURN_IF_ERROR(LtStatus(cublasLtMatmulPreferenceCreate(&raw), "preference"));
  Preference preference(raw);
  SKIPSTONE_RETURN_IF_ERROR(SetPreference(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                          static_cast<uint64_t>(kWorkspaceBytes)));
  // Partial sums of a split of the inputs stay f32.
  SKIPSTONE_RETURN_IF_ERROR(
      SetPreference(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                    static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE |
                                          CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE)));
  for (const auto name :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    SKIPSTONE_RETURN_IF_ERROR(SetPreference(preference, name, kAlignment));
  }
  return preference;
}

}  // namespace

// The library thinks in columns: y^T [outputs, rows] = W x^T, with W^T and x^T as they lie.
struct LtMatMul::Plan {
  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatrixLayout_t weight = nullptr;
  cublasLtMatrixLayout_t x = nullptr;
  cublasLtMatrixLayout_t y = nullptr;
  cublasLtMatmulAlgo_t algorithm = {};
};

void LtMatMul::Destroy::operator()(Plan* plan) const {
  if (plan->product != nullptr) cublasLtMatmulDescDestroy(plan->product);
  for (const auto layout : {plan->weight, plan->x, plan->y}) {
    if (layout != nullptr) cublasLtMatrixLayoutDestroy(layout);
  }
  delete plan;
}

absl::StatusOr<LtMatMul> LtMatMul::Create() {
  SKIPSTONE_RETURN_IF_ERROR(LoadCublasLt());
  LtMatMul made;
  cublasLtHandle_t handle = nullptr;
  SKIPSTONE_RETURN_IF_ERROR(LtStatus(cublasLtCreate(&handle), "cublasLtCreate"));
  made.handle_.reset(handle);
  SKIPSTONE_ASSIGN_OR_RETURN(made.workspace_,
                             DeviceMemory::Allocate(kWorkspaceBytes, "the products' workspace"));
  return made;
}

absl::StatusOr<std::unique_ptr<LtMatMul::Plan, LtMatMul::Destroy>> LtMatMul::MakePlan(
    const LtShape& shape) const {
  std::unique_ptr<Plan, Destroy> plan(new Plan);
  const cudaDataType_t output = shape.f32_output ? CUDA_R_32F : TypeOf(shape.type);
  SKIPSTONE_RETURN_IF_ERROR(LtStatus(
      cublasLtMatmulDescCreate(&plan->product, CUBLAS_COMPUTE_32F, CUDA_R_32F), "product"));
  const cublasOperation_t transposed = CUBLAS_OP_T;
  SKIPSTONE_RETURN_IF_ERROR(
      LtStatus(cublasLtMatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_TRANSA,
                                              &transposed, sizeof(transposed)),
               "product"));
  SKIPSTONE_RETURN_IF_ERROR(
      LtStatus(cublasLtMatrixLayoutCreate(&plan->weight, TypeOf(shape.type), shape.inputs,
                                          shape.outputs, shape.inputs),
               "layout"));
  SKIPSTONE_RETURN_IF_ERROR(
      LtStatus(cublasLtMatrixLayoutCreate(&plan->x, TypeOf(shape.type), shape.inputs, shape.rows,
                                          shape.inputs),
               "layout"));
  SKIPSTONE_RETURN_IF_ERROR(LtStatus(
      cublasLtMatrixLayoutCreate(&plan->y, output, shape.outputs, shape.rows, shape.y_stride),
      "layout"));
  SKIPSTONE_ASSIGN_OR_RETURN(const Preference preference, MakePreference());
  cublasLtMatmulHeuristicResult_t best = {};
  int found = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(handle_.get(), plan->product, plan->weight, plan->x, plan->y,
                                     plan->y, preference.get(), 1, &best, &found);
  if (status != CUBLAS_STATUS_SUCCESS || found == 0) {
    return absl::InternalError(
        absl::StrFormat("cuBLASLt has no algorithm for %d rows, %d outputs, %d inputs (status %d)",
                        shape.rows, shape.outputs, shape.inputs, static_cast<int>(status)));
  }
  plan->algorithm = best.algo;
  return plan;
}

absl::StatusOr<const LtMatMul::Plan*> LtMatMul::PlanOf(const LtShape& shape) {
  std::unique_ptr<Plan, Destroy>& plan = plans_[shape];
  if (plan == nullptr) {
    SKIPSTONE_ASSIGN_OR_RETURN(plan, MakePlan(shape));
  }
  return plan.get();
}

absl::Status LtMatMul::Run(const LtShape& shape, const void* weight, const void* x, void* y,
                           cudaStream_t stream) {
  SKIPSTONE_ASSIGN_OR_RETURN(const Plan* plan, PlanOf(shape));
  const float alpha = 1.0f;
  const float beta = shape.add ? 1.0f : 0.0f;
  return LtStatus(cublasLtMatmul(handle_.get(), plan->product, &alpha, weight, plan->weight, x,
                                 plan->x, &beta, y, plan->y, y, plan->y, &plan->algorithm,
                                 workspace_.as<void>(), kWorkspaceBytes, stream),
                  "cublasLtMatmul");
}

}  // namespace skipstone::cuda
