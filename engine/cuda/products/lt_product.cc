#include "engine/cuda/products/lt_product.h"

#include "absl/strings/str_format.h"
#include "base/status.h"

namespace skipstone::cuda {
namespace {

constexpr uint32_t kAlignment = 16;

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
                                          static_cast<uint64_t>(kLtWorkspaceBytes)));
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

absl::Status LtStatus(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
  return absl::InternalError(
      absl::StrFormat("%s: cuBLASLt status %d", what, static_cast<int>(status)));
}

absl::StatusOr<LtProduct::Layout> LtProduct::MakeLayout(cudaDataType_t type, int rows, int columns,
                                                        int stride) {
  cublasLtMatrixLayout_t raw = nullptr;
  SKIPSTONE_RETURN_IF_ERROR(
      LtStatus(cublasLtMatrixLayoutCreate(&raw, type, rows, columns, stride), "layout"));
  return Layout(raw);
}

absl::StatusOr<LtProduct> LtProduct::Create(const LtLibrary& library, const LtShape& shape) {
  LtProduct made;
  made.library_ = library;
  made.shape_ = shape;
  cublasLtMatmulDesc_t raw = nullptr;
  SKIPSTONE_RETURN_IF_ERROR(
      LtStatus(cublasLtMatmulDescCreate(&raw, CUBLAS_COMPUTE_32F, CUDA_R_32F), "product"));
  made.product_.reset(raw);
  const cublasOperation_t transposed = CUBLAS_OP_T;
  SKIPSTONE_RETURN_IF_ERROR(
      LtStatus(cublasLtMatmulDescSetAttribute(raw, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                              sizeof(transposed)),
               "product"));
  const cudaDataType_t type = TypeOf(shape.type);
  SKIPSTONE_ASSIGN_OR_RETURN(made.weight_,
                             MakeLayout(type, shape.inputs, shape.outputs, shape.inputs));
  SKIPSTONE_ASSIGN_OR_RETURN(made.x_, MakeLayout(type, shape.inputs, shape.rows, shape.inputs));
  SKIPSTONE_ASSIGN_OR_RETURN(made.y_, MakeLayout(shape.f32_output ? CUDA_R_32F : type,
                                                 shape.outputs, shape.rows, shape.y_stride));
  return made;
}

absl::Status LtProduct::SetRows(int rows) {
  const auto columns = static_cast<uint64_t>(rows);
  for (const Layout* layout : {&x_, &y_}) {
    SKIPSTONE_RETURN_IF_ERROR(
        LtStatus(cublasLtMatrixLayoutSetAttribute(layout->get(), CUBLASLT_MATRIX_LAYOUT_COLS,
                                                  &columns, sizeof(columns)),
                 "layout"));
  }
  shape_.rows = rows;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<cublasLtMatmulAlgo_t>> LtProduct::Suggest(int most) const {
  SKIPSTONE_ASSIGN_OR_RETURN(const Preference preference, MakePreference());
  std::vector<cublasLtMatmulHeuristicResult_t> results(most);
  int found = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      library_.handle, product_.get(), weight_.get(), x_.get(), y_.get(), y_.get(),
      preference.get(), most, results.data(), &found);
  std::vector<cublasLtMatmulAlgo_t> algorithms;
  for (int i = 0; i < found; ++i) {
    if (results[i].state == CUBLAS_STATUS_SUCCESS) algorithms.push_back(results[i].algo);
  }
  if (status == CUBLAS_STATUS_SUCCESS && !algorithms.empty()) return algorithms;
  return absl::InternalError(
      absl::StrFormat("cuBLASLt has no algorithm for %d rows, %d outputs, %d inputs (status %d)",
                      shape_.rows, shape_.outputs, shape_.inputs, static_cast<int>(status)));
}

bool LtProduct::Fits(const cublasLtMatmulAlgo_t& algorithm) const {
  cublasLtMatmulHeuristicResult_t result = {};
  const cublasStatus_t status =
      cublasLtMatmulAlgoCheck(library_.handle, product_.get(), weight_.get(), x_.get(), y_.get(),
                              y_.get(), &algorithm, &result);
  return status == CUBLAS_STATUS_SUCCESS &&
         result.workspaceSize <= static_cast<size_t>(kLtWorkspaceBytes);
}

absl::Status LtProduct::Run(const cublasLtMatmulAlgo_t& algorithm, const LtOperands& operands,
                            cudaStream_t stream) const {
  const float alpha = 1.0f;
  const float beta = shape_.add ? 1.0f : 0.0f;
  const cublasStatus_t status =
      cublasLtMatmul(library_.handle, product_.get(), &alpha, operands.weight, weight_.get(),
                     operands.x, x_.get(), &beta, operands.y, y_.get(), operands.y, y_.get(),
                     &algorithm, library_.workspace, kLtWorkspaceBytes, stream);
  if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
  return absl::InternalError(
      absl::StrFormat("cuBLASLt does not run %d rows, %d outputs, %d inputs (status %d)",
                      shape_.rows, shape_.outputs, shape_.inputs, static_cast<int>(status)));
}

}  // namespace skipstone::cuda
