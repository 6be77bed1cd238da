#include "engine/model/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/log.h"
#include "base/status.h"
#include "engine/model/json_fields.h"
#include "engine/model/safetensors_header.h"

namespace skipstone {

namespace {

// A whole file, read-only. Truncating the file under a running server raises SIGBUS, as with every
// mapping: replace model files, never rewrite them.
class Mapping {
 public:
  static absl::StatusOr<std::unique_ptr<Mapping>> Open(const std::string& path) {
    const auto fail = [&](const char* what) {
      const std::string message = absl::StrFormat("%s: %s: %s", path, what, std::strerror(errno));
      return errno == ENOENT ? absl::NotFoundError(message) : absl::InvalidArgumentError(message);
    };
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail("cannot be opened");
    struct stat info = {};
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
      close(fd);
      return absl::InvalidArgumentError(absl::StrFormat("%s is not a regular file", path));
    }
    auto mapping = std::make_unique<Mapping>();
    mapping->bytes_ = static_cast<size_t>(info.st_size);
    if (mapping->bytes_ > 0) {
      void* data = mmap(nullptr, mapping->bytes_, PROT_READ, MAP_SHARED, fd, 0);
      if (data == MAP_FAILED) {
        mapping->bytes_ = 0;
        close(fd);
        return fail("cannot be mapped");
      }
      mapping->data_ = data;
      // Starts reading a cold file ahead of use; costs nothing where it is in the page cache.
      madvise(data, mapping->bytes_, MADV_WILLNEED);
    }
    close(fd);
    return mapping;
  }

  Mapping() = default;
  ~Mapping() {
    if (data_ != nullptr) munmap(data_, bytes_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::string_view view() const { return {static_cast<const char*>(data_), bytes_}; }

  // Bytes [begin, end), at an address that is a multiple of `alignment`.
  const char* Aligned(uint64_t begin, uint64_t end, size_t alignment) {
    const char* const data = view().data() + begin;
    if (begin % alignment == 0) return data;
    copies_.push_back(std::make_unique<char[]>(end - begin));  // aligned for every type
    std::memcpy(copies_.back().get(), data, end - begin);
    return copies_.back().get();
  }
  size_t num_copies() const { return copies_.size(); }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
  std::vector<std::unique_ptr<char[]>> copies_;
};

// The index's weight_map: for each shard the tensors it holds.
absl::StatusOr<std::map<std::string, std::set<std::string>>> ReadIndex(const std::string& path) {
  SKIPSTONE_ASSIGN_OR_RETURN(std::string text, ReadFile(path));
  SKIPSTONE_ASSIGN_OR_RETURN(JsonFields index, JsonFields::Parse(text, path));
  SKIPSTONE_ASSIGN_OR_RETURN(JsonFields weight_map, index.Object("weight_map"));
  std::map<std::string, std::set<std::string>> shards;
  for (const std::string& tensor : weight_map.Keys()) {
    SKIPSTONE_ASSIGN_OR_RETURN(std::string shard, weight_map.String(tensor, ""));
    // A shard lies beside the index: an index from elsewhere must not reach other files.
    if (shard.empty() || shard.find('/') != std::string::npos || shard[0] == '.' ||
        shard.find('\0') != std::string::npos) {
      return weight_map.Error(tensor, "a file name without a path is needed");
    }
    shards[shard].insert(tensor);
  }
  if (shards.empty()) return index.Error("weight_map", "it places no tensors");
  return shards;
}

}  // namespace

absl::StatusOr<Safetensors> Safetensors::OpenFile(const std::string& path) {
  SKIPSTONE_ASSIGN_OR_RETURN(std::unique_ptr<Mapping> mapping, Mapping::Open(path));
  const std::string_view bytes = mapping->view();
  SKIPSTONE_ASSIGN_OR_RETURN(std::vector<SafetensorsEntry> entries,
                             ParseSafetensorsHeader(bytes, path));
  Safetensors file;
  for (SafetensorsEntry& entry : entries) {
    StoredTensor& tensor = file.tensors_[entry.name];
    tensor = {entry.type, std::move(entry.unserved_type), std::move(entry.shape)};
    const size_t alignment = tensor.unserved_type.empty() ? SizeOf(tensor.type) : 1;
    tensor.data = mapping->Aligned(entry.begin, entry.end, alignment);
  }
  if (mapping->num_copies() > 0) {
    Log(LogSeverity::kWarning,
        absl::StrFormat("%s: %d of %d tensors are not aligned to their types and were copied", path,
                        mapping->num_copies(), entries.size()));
  }
  file.mappings_.push_back(std::move(mapping));
  return file;
}

absl::StatusOr<Safetensors> Safetensors::OpenDirectory(const std::string& dir) {
  std::error_code ignored;
  const std::string single = dir + "/model.safetensors";
  const std::string index = single + ".index.json";
  if (std::filesystem::exists(single, ignored)) return OpenFile(single);
  if (!std::filesystem::exists(index, ignored)) {
    return absl::NotFoundError(absl::StrFormat(
        "%s holds neither model.safetensors nor model.safetensors.index.json", dir));
  }
  SKIPSTONE_ASSIGN_OR_RETURN(auto shards, ReadIndex(index));
  Safetensors all;
  for (const auto& [name, tensors] : shards) {
    SKIPSTONE_ASSIGN_OR_RETURN(Safetensors shard, OpenFile(dir + "/" + name));
    for (const std::string& tensor : tensors) {
      const auto found = shard.tensors_.find(tensor);
      if (found == shard.tensors_.end()) {
        return absl::InvalidArgumentError(absl::StrFormat(
            "%s places tensor '%s' in %s, which does not hold it", index, tensor, name));
      }
      all.tensors_.insert(*found);
    }
    all.mappings_.push_back(std::move(shard.mappings_.front()));
  }
  return all;
}

const StoredTensor* Safetensors::Find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

}  // namespace skipstone
