#include "base/experiment/exposure_record.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace skipstone::experiment {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kSchema[] = "skipstone.exposure/1";

constexpr std::array<const char*, 2> kDesigns = {"mixed", "switchback"};
struct ReasonNames {
  const char* name;
  const char* reason;      // OpenFeature's, as are its errors
  const char* error_code;  // empty: none
};
constexpr std::array<ReasonNames, 6> kReasons = {
    {{"split", "SPLIT", ""},
     {"gateway_arm", "TARGETING_MATCH", ""},
     {"disabled", "DISABLED", ""},
     {"excluded", "DEFAULT", ""},
     {"unit_missing", "ERROR", "TARGETING_KEY_MISSING"},
     {"unknown_arm", "ERROR", "INVALID_CONTEXT"}}};

template <class Visit>
void VisitFields(ExposureWindow& window, const Visit& visit) {
  visit("index", window.index);
  visit("ended_index", window.ended_index);
  visit("block", window.block);
  visit("seconds", window.seconds);
  visit("counted", window.counted);
}

template <class Visit>
void VisitFields(Exposure& exposure, const Visit& visit) {
  visit("flag_key", exposure.experiment);
  visit("layer", exposure.layer);
  visit("design", exposure.design);
  visit("generation", exposure.generation);
  visit("reason", exposure.reason);
  visit("variant", exposure.arm);
  visit("variant_share", exposure.share);
  visit("targeting_key_hash", exposure.unit);
  visit("window", exposure.window);
}

template <class Visit>
void VisitFields(ShadowResult& shadow, const Visit& visit) {
  visit("tokens", shadow.sums.tokens);
  visit("kl_nats", shadow.sums.kl);
  visit("agreeing_tokens", shadow.sums.agrees);
  visit("nll_nats", shadow.sums.nll);
  visit("logprob_difference_nats", shadow.logprob_difference);
  visit("brier", shadow.sums.brier);
  visit("calibration", shadow.sums.bins);
}

template <class Visit>
void VisitFields(ExposureText& text, const Visit& visit) {
  visit("prompt", text.prompt);
  visit("outputs", text.outputs);
}

template <class Visit>
void VisitFields(ExposureRecord& record, const Visit& visit) {
  visit("time_unix_ms", record.time_unix_ms);
  visit("request_id", record.request_id);
  visit("traceparent", record.traceparent);
  visit("exposures", record.exposures);
  visit("level", record.level);
  visit("skip_id", record.skip_id);
  visit("compensation", record.compensation);
  visit("enlarged", record.enlarged);
  visit("outcome", record.outcome);
  visit("queue_s", record.queue_s);
  visit("ttft_s", record.ttft_s);
  visit("itl_mean_s", record.itl_mean_s);
  visit("e2e_s", record.e2e_s);
  visit("attributed_s", record.attributed_s);
  visit("prompt_tokens", record.prompt_tokens);
  visit("cached_prompt_tokens", record.cached_prompt_tokens);
  visit("generated_tokens", record.generated_tokens);
  visit("kv_pages_used", record.kv_pages_used);
  visit("kv_pages_omitted", record.kv_pages_omitted);
  visit("shadow", record.shadow);
  visit("text", record.text);
}

template <class T>
concept HasFields = std::is_same_v<T, ExposureWindow> || std::is_same_v<T, Exposure> ||
    std::is_same_v<T, ShadowResult> || std::is_same_v<T, ExposureText>;

// Puts the fields of a struct into an object, in their order.
class Writer {
 public:
  explicit Writer(Json& object) : object_(object) {}

  template <class T>
  void operator()(const char* key, T& value) const {
    object_[key] = Of(value);
  }
  template <class T>
  void operator()(const char* key, std::optional<T>& value) const {
    if (value) object_[key] = Of(*value);
  }
  void operator()(const char* key, Reason& reason) const {
    const ReasonNames& names = kReasons[static_cast<size_t>(reason)];
    object_[key] = names.reason;
    if (*names.error_code != '\0') object_["error_code"] = names.error_code;
  }

 private:
  static Json Of(const std::string& text) { return text; }
  static Json Of(int64_t number) { return number; }
  static Json Of(bool value) { return value; }
  static Json Of(double number) { return std::isfinite(number) ? number : 0; }
  static Json Of(const Hash& hash) { return absl::StrFormat("%016x", hash.value); }
  static Json Of(Design design) { return NameOf(design); }
  static Json Of(const quality::CalibrationBin& bin) {
    return Json::array({bin.tokens, bin.correct, Of(bin.confidence)});
  }
  template <class T, size_t n>
  static Json Of(std::array<T, n>& values) {
    return List(values);
  }
  template <class T>
  static Json Of(std::vector<T>& values) {
    return List(values);
  }
  template <HasFields T>
  static Json Of(T& fields) {
    Json object = Json::object();
    VisitFields(fields, Writer(object));
    return object;
  }
  template <class Values>
  static Json List(Values& values) {
    Json list = Json::array();
    for (auto& value : values) list.push_back(Of(value));
    return list;
  }

  Json& object_;
};

// Reads them from one. Of several mistakes the first is told.
class Reader {
 public:
  // `path`: of the object, with the dot behind it.
  Reader(const Json& object, std::string path, std::string& error)
      : object_(object), path_(std::move(path)), error_(error) {}

  template <class T>
  void operator()(const char* key, T& value) const {
    const Json* found = Find(key);
    if (found == nullptr) return Fail(key, "is missing");
    Read(path_ + key, *found, value);
  }
  template <class T>
  void operator()(const char* key, std::optional<T>& value) const {
    if (const Json* found = Find(key)) Read(path_ + key, *found, value.emplace());
  }
  void operator()(const char* key, Reason& reason) const {
    std::string name;
    std::optional<std::string> code;
    (*this)(key, name);
    (*this)("error_code", code);
    const auto found = std::ranges::find_if(kReasons, [&](const ReasonNames& names) {
      return names.reason == name && names.error_code == code.value_or("");
    });
    if (found == kReasons.end()) return Fail(key, absl::StrCat("'", name, "' is unknown"));
    reason = static_cast<Reason>(found - kReasons.begin());
  }

 private:
  const Json* Find(const char* key) const {
    const auto found = object_.find(key);
    return found == object_.end() ? nullptr : &*found;
  }
  void Fail(const std::string& key, const std::string& why) const { Mistake(path_ + key, why); }
  void Mistake(const std::string& path, const std::string& why) const {
    if (error_.empty()) error_ = absl::StrCat(path, " ", why);
  }
  // False after telling what is wanted.
  bool Expect(const std::string& path, bool is, const char* wanted) const {
    if (!is) Mistake(path, absl::StrCat("is not ", wanted));
    return is;
  }

  void Read(const std::string& path, const Json& json, std::string& text) const {
    if (Expect(path, json.is_string(), "a string")) text = json.get<std::string>();
  }
  void Read(const std::string& path, const Json& json, bool& value) const {
    if (Expect(path, json.is_boolean(), "true or false")) value = json.get<bool>();
  }
  void Read(const std::string& path, const Json& json, double& number) const {
    if (Expect(path, json.is_number(), "a number")) number = json.get<double>();
  }
  void Read(const std::string& path, const Json& json, int64_t& number) const {
    constexpr uint64_t kMost = uint64_t{1} << 62;
    const bool whole = json.is_number_unsigned() && json.get<uint64_t>() <= kMost;
    if (Expect(path, whole, "a whole number from 0")) number = json.get<int64_t>();
  }
  void Read(const std::string& path, const Json& json, Hash& hash) const {
    const std::string text = json.is_string() ? json.get<std::string>() : "";
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, hash.value, 16);
    Expect(path, text.size() == 16 && stop == end && error == std::errc(), "16 hexadecimal digits");
  }
  void Read(const std::string& path, const Json& json, Design& design) const {
    std::string name;
    Read(path, json, name);
    const auto found = std::ranges::find(kDesigns, name);
    if (Expect(path, found != kDesigns.end(), "mixed or switchback")) {
      design = static_cast<Design>(found - kDesigns.begin());
    }
  }
  void Read(const std::string& path, const Json& json, quality::CalibrationBin& bin) const {
    if (!Expect(path, json.is_array() && json.size() == 3, "[tokens, correct, confidence]")) return;
    Read(path, json[0], bin.tokens);
    Read(path, json[1], bin.correct);
    Read(path, json[2], bin.confidence);
  }
  template <class T, size_t n>
  void Read(const std::string& path, const Json& json, std::array<T, n>& values) const {
    if (!Expect(path, json.is_array() && json.size() == n, "a list of the right length")) return;
    for (size_t i = 0; i < n; ++i) Read(absl::StrCat(path, "[", i, "]"), json[i], values[i]);
  }
  template <class T>
  void Read(const std::string& path, const Json& json, std::vector<T>& values) const {
    if (!Expect(path, json.is_array(), "a list")) return;
    values.resize(json.size());
    for (size_t i = 0; i < json.size(); ++i) {
      Read(absl::StrCat(path, "[", i, "]"), json[i], values[i]);
    }
  }
  template <HasFields T>
  void Read(const std::string& path, const Json& json, T& fields) const {
    if (Expect(path, json.is_object(), "an object")) {
      VisitFields(fields, Reader(json, path + ".", error_));
    }
  }

  const Json& object_;
  const std::string path_;
  std::string& error_;
};

absl::Status NoRecord(std::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("no exposure record: ", std::string(why)));
}

// A switchback has windows, and only an arm that ran has a name.
std::string Contradiction(const Exposure& exposure) {
  if (exposure.assigned() == exposure.arm.empty()) return "variant contradicts reason";
  if ((exposure.design == Design::kSwitchback) != exposure.window.has_value()) {
    return "window contradicts design";
  }
  return "";
}

}  // namespace

const char* NameOf(Design design) { return kDesigns[static_cast<size_t>(design)]; }

const char* NameOf(Reason reason) { return kReasons[static_cast<size_t>(reason)].name; }

const Exposure* ExposureRecord::Of(std::string_view experiment) const {
  const auto found = std::ranges::find(exposures, experiment, &Exposure::experiment);
  return found == exposures.end() ? nullptr : &*found;
}

std::string FormatExposure(ExposureRecord record) {
  Json json = {{"schema", kSchema}};
  VisitFields(record, Writer(json));
  return json.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace) + "\n";
}

absl::StatusOr<ExposureRecord> ParseExposure(std::string_view line) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return absl::InvalidArgumentError("the line is torn, or no JSON");
  const auto schema = json.find("schema");
  if (!json.is_object() || schema == json.end() || *schema != kSchema) {
    return NoRecord(absl::StrCat("its schema is not ", kSchema));
  }
  ExposureRecord record;
  std::string error;
  VisitFields(record, Reader(json, "", error));
  for (const Exposure& exposure : record.exposures) {
    if (error.empty()) error = Contradiction(exposure);
  }
  if (!error.empty()) return NoRecord(error);
  return record;
}

}  // namespace skipstone::experiment
