// Macros for functions that return absl::Status or absl::StatusOr.
//
//   SKIPSTONE_RETURN_IF_ERROR(Validate(config));
//   SKIPSTONE_ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(dir));
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define SKIPSTONE_RETURN_IF_ERROR(expr)                                 \
  do {                                                                  \
    if (::absl::Status status_ = (expr); !status_.ok()) return status_; \
  } while (false)

#define SKIPSTONE_CONCAT_INNER(a, b) a##b
#define SKIPSTONE_CONCAT(a, b) SKIPSTONE_CONCAT_INNER(a, b)

#define SKIPSTONE_ASSIGN_OR_RETURN(lhs, expr) \
  SKIPSTONE_ASSIGN_OR_RETURN_IMPL(SKIPSTONE_CONCAT(status_or_, __LINE__), lhs, expr)
#define SKIPSTONE_ASSIGN_OR_RETURN_IMPL(tmp, lhs, expr) \
  auto tmp = (expr);                                    \
  if (!tmp.ok()) return tmp.status();                   \
  lhs = *std::move(tmp)
