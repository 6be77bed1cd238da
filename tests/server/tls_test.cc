#include "server/tls.h"

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_certificates.h"

namespace skipstone::server {
namespace {

using testing::HasSubstr;

class TlsTest : public testing::Test {
 protected:
  TlsTest() { Renew("first"); }

  // As certificates are renewed: each file whole, by a move.
  void Renew(const char* name, long seconds = 3600) {
    const TestAuthority::Pair pair = authority_.Sign(name, seconds);
    for (const auto& [file, text] :
         {std::pair("tls.key", pair.key), std::pair("tls.crt", pair.certificate)}) {
      std::filesystem::rename(dir_.Write("new", text), Path(file));
    }
  }
  std::string Path(const std::string& name) const { return dir_.path() + "/" + name; }
  std::string Yaml(const std::string& more = "") const {
    return absl::StrCat("tls_cert: ", Path("tls.crt"), "\ntls_key: ", Path("tls.key"), "\n", more);
  }

  std::unique_ptr<v1::Inference::Stub> Connect(const FakeServer& server,
                                               const TestAuthority::Pair& own = {}) {
    grpc::SslCredentialsOptions options{authority_.certificate(), own.key, own.certificate};
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
    return v1::Inference::NewStub(grpc::CreateCustomChannel(
        server.server_address(), grpc::SslCredentials(options), arguments));
  }
  static grpc::Status Ask(v1::Inference::Stub& stub) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    v1::GetModelResponse response;
    return stub.GetModel(&context, {}, &response);
  }

  const TempDir dir_;
  const TestAuthority authority_;
};

TEST_F(TlsTest, ServesWhoTrustsItsCertificate) {
  FakeServer server({.yaml = Yaml()});
  EXPECT_TRUE(Ask(*Connect(server)).ok());
  EXPECT_FALSE(Ask(server.stub()).ok()) << "in plaintext";
  const TestAuthority other;
  const auto stranger = v1::Inference::NewStub(grpc::CreateChannel(
      server.server_address(), grpc::SslCredentials({other.certificate(), "", ""})));
  EXPECT_FALSE(Ask(*stranger).ok());
}

TEST_F(TlsTest, ClientsNeedACertificateWhereAnAuthorityIsNamed) {
  const std::string ca = dir_.Write("ca.crt", authority_.certificate());
  FakeServer server({.yaml = Yaml("tls_client_ca: " + ca)});
  EXPECT_FALSE(Ask(*Connect(server)).ok());
  EXPECT_FALSE(Ask(*Connect(server, TestAuthority().Sign("stranger"))).ok());
  EXPECT_FALSE(Ask(*Connect(server, authority_.Sign("late", /*seconds=*/-1))).ok());
  EXPECT_TRUE(Ask(*Connect(server, authority_.Sign("client"))).ok());
}

// Of the certificate that a call's connection saw; empty: the call failed.
std::string ServerName(v1::Inference::Stub& stub) {
  grpc::ClientContext context;
  v1::GetModelResponse response;
  if (!stub.GetModel(&context, {}, &response).ok()) return "";
  const auto names = context.auth_context()->FindPropertyValues("x509_common_name");
  return names.empty() ? "" : std::string(names[0].data(), names[0].size());
}

TEST_F(TlsTest, ARenewedCertificateServesNewConnectionsAndNoStreamEnds) {
  FakeServer server(Endless(Yaml()));
  const auto stub = Connect(server);
  EXPECT_EQ(ServerName(*stub), "first");
  grpc::ClientContext context;
  const auto stream = stub->GenerateStream(&context, Prompt("5 6 7", 50000));
  v1::GenerateEvent event;
  ASSERT_TRUE(stream->Read(&event));
  Renew("second");
  EXPECT_TRUE(Eventually([&] { return ServerName(*Connect(server)) == "second"; }));
  // While it is broken nobody new gets in.
  std::filesystem::rename(dir_.Write("new", "no certificate"), Path("tls.crt"));
  EXPECT_TRUE(Eventually([&] { return ServerName(*Connect(server)).empty(); }));
  Renew("third");
  EXPECT_TRUE(Eventually([&] { return ServerName(*Connect(server)) == "third"; }));
  EXPECT_TRUE(stream->Read(&event)) << "goes on";
  context.TryCancel();
  stream->Finish();
}

TEST_F(TlsTest, TheServersOwnCheckGetsThrough) {
  FakeServer server({.yaml = Yaml()});
  server.server().WatchOwnPort({.interval = std::chrono::milliseconds(10), .failures = 1});
  std::this_thread::sleep_for(std::chrono::seconds(1));
  EXPECT_TRUE(server.server().CheckEngine().ok());
}

TEST_F(TlsTest, MetricsTellWhenItEnds) {
  Renew("first", 1000);
  FakeServer server({.yaml = Yaml()});
  const std::string name = "skipstone_tls_certificate_end_seconds";
  const double end = server.Metric(name);
  EXPECT_NEAR(end, absl::ToUnixSeconds(absl::Now()) + 1000, 60);
  dir_.Write("tls.crt", "no certificate");
  EXPECT_EQ(server.Metric(name), 0);
  FakeServer plain;
  EXPECT_THAT(ScrapeMetrics(plain.server().metrics_address()), testing::Not(HasSubstr(name)));
}

TEST_F(TlsTest, WrongFilesAreNamedAtTheStart) {
  const TestAuthority::Pair other = authority_.Sign("other");
  const std::string other_key = dir_.Write("other.key", other.key);
  const std::string text = dir_.Write("text", "no PEM");
  const auto error = [&](const PortSettings& settings) {
    return std::string(CredentialsOf(settings).status().message());
  };
  PortSettings good;
  good.tls_cert = Path("tls.crt");
  good.tls_key = Path("tls.key");
  EXPECT_EQ(error(good), "");
  const auto with = [&](std::string PortSettings::*setting, const std::string& path) {
    PortSettings wrong = good;
    wrong.*setting = path;
    return error(wrong);
  };
  EXPECT_THAT(with(&PortSettings::tls_key, ""), HasSubstr("give both"));
  EXPECT_THAT(with(&PortSettings::tls_cert, ""), HasSubstr("give both"));
  EXPECT_THAT(with(&PortSettings::tls_cert, "/no/such"), HasSubstr("--tls_cert: \"/no/such\""));
  EXPECT_THAT(with(&PortSettings::tls_cert, text), HasSubstr("--tls_cert"));
  EXPECT_THAT(with(&PortSettings::tls_key, other_key), HasSubstr("--tls_key"));
  // Nobody is asked for it, at a terminal either.
  const std::string asks = dir_.Write("asks.key", TestAuthority::Protected(other.key));
  EXPECT_THAT(with(&PortSettings::tls_key, asks), HasSubstr("is protected by a password"));
  EXPECT_THAT(with(&PortSettings::tls_client_ca, text), HasSubstr("--tls_client_ca"));
  PortSettings alone;
  alone.tls_client_ca = Path("tls.crt");
  EXPECT_THAT(error(alone), HasSubstr("takes --tls_cert"));
}

}  // namespace
}  // namespace skipstone::server
