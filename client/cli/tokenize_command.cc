// `skipstone tokenize` and `skipstone detokenize`: a text's token ids and pieces, and back.
#include <memory>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "base/table.h"
#include "client/cli/command.h"
#include "client/cli/proto_json.h"
#include "client/cli/token_ids_flag.h"
#include "client/client.h"

namespace skipstone::client {
namespace {

class TokenizeCommand : public Command {
 public:
  std::string name() const override { return "tokenize"; }
  std::string summary() const override { return "prints the token ids and pieces of a text"; }
  std::string usage() const override {
    return "[flags] TEXT\n\n  skipstone tokenize 'In the beginning'\n";
  }
  void AddFlags(FlagSet& flags) override {
    flags.Add("special", &special_, "put the beginning-of-sequence token first; --nospecial: not");
  }

  absl::Status Prepare(const std::vector<std::string>& arguments) override {
    if (arguments.size() != 1) {
      return absl::InvalidArgumentError(
          absl::StrFormat("expected one TEXT, got %d arguments; quote it", arguments.size()));
    }
    request_.set_text(arguments[0]);
    request_.set_add_special_tokens(special_);
    return absl::OkStatus();
  }

  absl::Status Run(Io& io) override {
    SKIPSTONE_ASSIGN_OR_RETURN(const auto channel, connection.Connect());
    SKIPSTONE_ASSIGN_OR_RETURN(const v1::TokenizeResponse response,
                               Client(channel).Tokenize(request_, options));
    if (connection.json) {
      PrintJson(ProtoToJson(response), io.out);
      return absl::OkStatus();
    }
    Table table({"id", "piece"});
    for (int i = 0; i < response.ids_size(); ++i) {
      table.AddRow(
          {std::to_string(response.ids(i)), i < response.pieces_size() ? response.pieces(i) : ""});
    }
    table.Print(io.out);
    return absl::OkStatus();
  }

 private:
  bool special_ = true;
  v1::TokenizeRequest request_;
};

class DetokenizeCommand : public Command {
 public:
  std::string name() const override { return "detokenize"; }
  std::string summary() const override { return "prints the text of token ids"; }
  std::string usage() const override {
    return "[flags] --ids 1,2,3 | --ids @FILE\n\n  skipstone detokenize --ids 306,626\n";
  }
  void AddFlags(FlagSet& flags) override { ids_.AddTo(flags); }

  absl::Status Prepare(const std::vector<std::string>& arguments) override {
    SKIPSTONE_RETURN_IF_ERROR(Command::Prepare(arguments));
    if (!ids_.given()) return absl::InvalidArgumentError("expected --ids");
    return ids_.Check();
  }

  absl::Status Run(Io& io) override {
    SKIPSTONE_ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, ids_.Read());
    v1::DetokenizeRequest request;
    request.mutable_ids()->Add(ids.begin(), ids.end());
    SKIPSTONE_ASSIGN_OR_RETURN(const auto channel, connection.Connect());
    SKIPSTONE_ASSIGN_OR_RETURN(const v1::DetokenizeResponse response,
                               Client(channel).Detokenize(request, options));
    if (connection.json) {
      PrintJson(ProtoToJson(response), io.out);
    } else {
      io.out << response.text() << '\n';
    }
    return absl::OkStatus();
  }

 private:
  TokenIdsFlag ids_;
};

}  // namespace

std::unique_ptr<Command> MakeTokenizeCommand() { return std::make_unique<TokenizeCommand>(); }
std::unique_ptr<Command> MakeDetokenizeCommand() { return std::make_unique<DetokenizeCommand>(); }

}  // namespace skipstone::client
