#include "engine/model/model_folder.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "engine/model/json_fields.h"
#include "engine/model/read_file.h"

namespace skipstone {

absl::Status CheckModelFolder(const std::string& dir) {
  constexpr char kServed[] =
      "a model is a Hugging Face folder with config.json, *.safetensors, and tokenizer.model or "
      "tokenizer.json; GGUF files are not served";
  std::error_code error;
  if (!std::filesystem::exists(dir, error)) {
    return absl::NotFoundError(absl::StrFormat("there is no %s: %s", dir, kServed));
  }
  if (!std::filesystem::is_directory(dir, error)) {
    return absl::InvalidArgumentError(absl::StrFormat("%s is no folder: %s", dir, kServed));
  }
  if (!std::filesystem::exists(dir + "/config.json", error)) {
    return absl::NotFoundError(
        absl::StrFormat("there is no file %s/config.json: %s", dir, kServed));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> NamesEosIds(const std::string& dir) {
  for (const char* name : {"/generation_config.json", "/config.json"}) {
    const absl::StatusOr<std::string> text = ReadFile(dir + name);
    if (absl::IsNotFound(text.status())) continue;
    if (!text.ok()) return text.status();
    SKIPSTONE_ASSIGN_OR_RETURN(JsonFields fields, JsonFields::Parse(*text, dir + name));
    if (fields.Contains("eos_token_id")) return true;
  }
  return false;
}

}  // namespace skipstone
