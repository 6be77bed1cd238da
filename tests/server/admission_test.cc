// What of a call reaches the engine: ceiling, tenant, and how a refusal is told.
#include "server/admission.h"

#include <grpcpp/test/server_context_test_spouse.h>

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_serving.h"

namespace skipstone::server {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Metadata = std::vector<std::pair<std::string, std::string>>;

const std::string kLevels =
    "levels: {full: none, deep: 'attn:last=2'}\npolicy: {max_skipped_attention: 3}\n";

// What is not named in a test is as in an admitted request.
class AdmissionTest : public testing::Test {
 protected:
  absl::StatusOr<Admitted> Admit(const v1::Skip& skip, const std::string& experiment_key = "") {
    v1::GenerateRequest request;
    request.set_text("5 6 7");
    *request.mutable_skip() = skip;
    request.set_experiment_key(experiment_key);
    return Run([&](Admission& admission) { return admission.Generate(request, **serving_); });
  }
  absl::StatusOr<Admitted> AdmitScore(const v1::Skip& skip) {
    v1::ScoreRequest request;
    request.add_items()->mutable_prompt()->set_text("5 6 7");
    *request.mutable_skip() = skip;
    return Run([&](Admission& admission) { return admission.Score(request, **serving_); });
  }
  // Under `yaml`, with the metadata set before.
  template <class Call>
  absl::StatusOr<Admitted> Run(Call call) {
    grpc::ServerContext context;
    grpc::testing::ServerContextTestSpouse spouse(&context);
    for (const auto& [key, value] : metadata_) spouse.AddClientMetadata(key, value);
    Admission admission(context, SystemClock().Now());
    return call(admission);
  }
  void Configure(const std::string& yaml) { serving_.emplace(kLevels + yaml); }

  std::optional<FakeServing> serving_{std::in_place, kLevels};
  Metadata metadata_;
};

v1::Skip WithCeiling(const std::string& spec, const std::string& ceiling) {
  v1::Skip skip;
  if (!spec.empty()) skip.set_spec(spec);
  skip.mutable_adaptive()->set_ceiling_spec(ceiling);
  return skip;
}

std::string CeilingOf(const absl::StatusOr<Admitted>& admitted) {
  if (!admitted.ok()) return admitted.status().ToString();
  return admitted->request.ceiling ? admitted->request.ceiling->ToString() : "";
}

TEST_F(AdmissionTest, TheCeilingReachesTheEngineBesideTheChoice) {
  const auto spec = Admit(WithCeiling("attn:last=1", "attn:last=3+mlp:0"));
  EXPECT_EQ(CeilingOf(spec), "attn:1-3+mlp:0");
  EXPECT_EQ(spec->request.skip.ToString(), "attn:3");
  EXPECT_EQ(spec->applied.spec(), "attn:3") << "until the engine says otherwise";
  EXPECT_EQ(spec->request.labels.level, "custom");
  v1::Skip level;
  level.mutable_adaptive()->set_ceiling_level("deep");
  EXPECT_EQ(CeilingOf(Admit(level)), "attn:2-3") << "above the default level";
}

TEST_F(AdmissionTest, ACeilingThatIsTheChoiceMeansNoAdaptation) {
  EXPECT_EQ(CeilingOf(Admit({})), "");
  EXPECT_EQ(CeilingOf(Admit(WithCeiling("attn:last=2", "attn:2-3"))), "");
}

TEST_F(AdmissionTest, ThePolicyBoundsTheCeiling) {
  EXPECT_THAT(CeilingOf(Admit(WithCeiling("none", "attn:0-3"))),
              AllOf(HasSubstr("INVALID_ARGUMENT"), HasSubstr("skip.adaptive.ceiling_spec"),
                    HasSubstr("4 attention sublayers"), HasSubstr("3 of 4")));
}

TEST_F(AdmissionTest, AnAssignedRequestIsNotAdapted) {
  Configure(
      "experiments:\n- name: e\n  unit: request.experiment_key\n"
      "  arms: [{name: a, level: deep, weight: 1}]\n");
  // Nor does a ceiling matter that the arm exceeds: the caller cannot know the arm.
  for (const std::string ceiling : {"attn:last=3", "attn:last=1", "nonsense"}) {
    const auto assigned = Admit(WithCeiling("", ceiling), "user");
    ASSERT_TRUE(assigned.ok()) << assigned.status();
    EXPECT_EQ(assigned->applied.arm(), "a");
    EXPECT_EQ(CeilingOf(assigned), "");
  }
  EXPECT_EQ(CeilingOf(Admit(WithCeiling("none", "attn:3"), "user")), "attn:3") << "its own choice";
  EXPECT_EQ(CeilingOf(Admit(WithCeiling("", "attn:3"))), "attn:3") << "no unit";
}

TEST_F(AdmissionTest, AScoreRefusesACeiling) {
  const auto refused = AdmitScore(WithCeiling("none", "attn:3"));
  EXPECT_TRUE(absl::IsInvalidArgument(refused.status()));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("skip.adaptive"));
  v1::Skip skip;
  skip.set_level("deep");
  EXPECT_TRUE(AdmitScore(skip).ok());
}

TEST_F(AdmissionTest, TheTenantIsReadFromTheConfiguredMetadata) {
  metadata_ = {{"x-tenant-id", "Acme, Inc."}};
  EXPECT_EQ(Admit({})->request.tenant, "") << "shares are not by tenant";
  Configure("fair_share: metadata:X-Tenant-Id\n");
  EXPECT_EQ(Admit({})->request.tenant, "Acme, Inc.");
  EXPECT_EQ(AdmitScore({})->request.tenant, "Acme, Inc.");
  EXPECT_EQ(Admit({})->request.labels.level + Admit({})->request.labels.arm, "full")
      << "tenants are not labels";
  metadata_.clear();
  EXPECT_EQ(Admit({})->request.tenant, "");
}

TEST_F(AdmissionTest, NamesATenantThatIsTooLongOrNotPrintable) {
  Configure("fair_share: metadata:x-tenant-bin\n");
  const auto message = [&](const std::string& tenant) {
    metadata_ = {{"x-tenant-bin", tenant}};
    const auto admitted = Admit({});
    EXPECT_EQ(absl::IsInvalidArgument(AdmitScore({}).status()), !admitted.ok());
    return admitted.ok() ? admitted->request.tenant : admitted.status().ToString();
  };
  EXPECT_EQ(message(std::string(256, 't')), std::string(256, 't'));
  EXPECT_THAT(message(std::string(257, 't')),
              AllOf(HasSubstr("INVALID_ARGUMENT"), HasSubstr("metadata x-tenant-bin: 257 bytes"),
                    HasSubstr("256")));
  for (const std::string tenant : {"a\nb", "caf\u00e9", "\x7f"}) {
    EXPECT_THAT(message(tenant), AllOf(HasSubstr("INVALID_ARGUMENT"),
                                       HasSubstr("metadata x-tenant-bin: only printable")));
  }
}

// The salt of each combination of tenant, cache salt and arm.
TEST_F(AdmissionTest, TheCacheSaltTellsItsPartsApart) {
  const std::string experiment =
      "experiments:\n- name: e\n  unit: request.experiment_key\n"
      "  arms: [{name: a, level: full, weight: 1}]\n";
  Configure("fair_share: metadata:tenant\n" + experiment);
  const std::vector<std::string> parts = {
      "", "e/a", "\ne/a", "0:", "3:e/a", "1:x", "x", "x0:3:e/a"};
  std::set<std::string> salts;
  int made = 0;
  for (const std::string& tenant : parts) {
    if (tenant.find('\n') != std::string::npos) continue;  // no metadata
    metadata_ = {{"tenant", tenant}};
    for (const std::string& salt : parts) {
      for (const char* unit : {"", "user"}) {
        v1::GenerateRequest request;
        request.set_text("5");
        request.set_cache_salt(salt);
        request.set_experiment_key(unit);
        const auto admitted =
            Run([&](Admission& admission) { return admission.Generate(request, **serving_); });
        ASSERT_TRUE(admitted.ok()) << admitted.status();
        salts.insert(admitted->request.cache_salt);
        ++made;
      }
    }
  }
  EXPECT_EQ(std::ssize(salts), made);
}

TEST_F(AdmissionTest, TenantsShareCachedPrefixesIfTheyAreToldTo) {
  const auto salt_of = [&](const std::string& tenant) {
    metadata_ = {{"tenant", tenant}};
    EXPECT_EQ(Admit({})->request.cache_salt, AdmitScore({})->request.cache_salt);
    return Admit({})->request.cache_salt;
  };
  EXPECT_EQ(salt_of("a"), salt_of("b")) << "there are no tenants";
  Configure("fair_share: metadata:tenant\n");
  EXPECT_NE(salt_of("a"), salt_of("b"));
  Configure("fair_share: metadata:tenant\n");
  serving_.emplace(
      "levels: {full: none}\nfair_share: metadata:tenant\n"
      "policy: {share_prefix_cache_across_tenants: true}\n");
  EXPECT_EQ(salt_of("a"), salt_of("b"));
}

TEST_F(AdmissionTest, AScoreWaitsBehindWhatOthersWaitFor) {
  EXPECT_EQ(Admit({})->request.priority, 0);
  EXPECT_EQ(AdmitScore({})->request.priority, -1);
  v1::ScoreRequest request;
  request.add_items()->mutable_prompt()->set_text("5 6 7");
  for (const int priority : {0, -7}) {
    request.set_priority(priority);
    const auto admitted =
        Run([&](Admission& admission) { return admission.Score(request, **serving_); });
    EXPECT_EQ(admitted->request.priority, priority);
  }
}

TEST_F(AdmissionTest, EachCallHasItsNumber) {
  EXPECT_NE(Admit({})->request.call, 0u);
  EXPECT_NE(Admit({})->request.call, AdmitScore({})->request.call);
}

TEST(RequestIdTest, Has128RandomBits) {
  std::set<std::string> ids;
  std::vector<std::set<char>> digits(32);
  for (int i = 0; i < 1000; ++i) {
    const std::string id = MakeRequestId();
    ASSERT_EQ(id.size(), 32u);
    ids.insert(id);
    for (size_t k = 0; k < 32; ++k) digits[k].insert(id[k]);
  }
  EXPECT_EQ(ids.size(), 1000u);
  for (size_t k = 0; k < 32; ++k) EXPECT_EQ(digits[k].size(), 16u) << "digit " << k;
}

}  // namespace
}  // namespace skipstone::server
