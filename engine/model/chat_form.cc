// Recognises Llama 2's chat template among templates in Jinja: by what it writes and what it writes
// that from. How it checks roles, and how it is laid out, does not matter.
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_replace.h"
#include "engine/model/tokenizer.h"

namespace skipstone {
namespace {

// An expression or statement without blanks outside its strings, with ' as quote, \n for a line
// break, + for ~, x['y'] for x.y and .strip() for |trim.
std::string Canonical(std::string_view text) {
  std::string out;
  char quote = '\0';
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote == '\0') {
      if (c == '\'' || c == '"') quote = c;
      if (c != ' ' && c != '\t' && c != '\n' && c != '\r') out += c == '"' ? '\'' : c;
    } else if (c == '\\' && i + 1 < text.size()) {
      out += c;
      out += text[++i];
    } else if (c == quote) {
      quote = '\0';
      out += '\'';
    } else if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return absl::StrReplaceAll(out, {{"~", "+"},
                                   {"|trim", ".strip()"},
                                   {"message.content", "message['content']"},
                                   {"messages[0].content", "messages[0]['content']"}});
}

bool IsOneOf(const std::string& text, std::initializer_list<std::string_view> all) {
  for (const std::string_view one : all) {
    if (text == one) return true;
  }
  return false;
}

constexpr char kUser[] = "bos_token+'[INST] '+content.strip()+' [/INST]'";
constexpr char kAssistant[] = "' '+content.strip()+' '+eos_token";
constexpr char kFirst[] =
    "setcontent='<<SYS>>\\n'+system_message+'\\n<</SYS>>\\n\\n'+message['content']";

// What stands between tags.
struct Tag {
  char kind = '{';  // {: an expression; %: a statement; #: a comment
  std::string text;
};

// False if there is text outside of tags, or a tag without end.
bool TagsOf(std::string_view text, std::vector<Tag>* tags) {
  while (true) {
    const size_t begin = text.find('{');
    const std::string_view outside = text.substr(0, begin);
    if (outside.find_first_not_of(" \t\r\n") != std::string_view::npos) return false;
    if (begin == std::string_view::npos) return true;
    if (begin + 1 >= text.size()) return false;
    const char kind = text[begin + 1];
    if (kind != '{' && kind != '%' && kind != '#') return false;
    const char close[] = {kind == '{' ? '}' : kind, '}', '\0'};
    const size_t end = text.find(close, begin + 2);
    if (end == std::string_view::npos) return false;
    std::string_view inside = text.substr(begin + 2, end - begin - 2);
    if (inside.starts_with('-')) inside.remove_prefix(1);
    if (inside.ends_with('-')) inside.remove_suffix(1);
    tags->push_back({kind, Canonical(inside)});
    text.remove_prefix(end + 2);
  }
}

}  // namespace

bool IsLlama2ChatTemplate(std::string_view text) {
  std::vector<Tag> tags;
  if (!TagsOf(text, &tags)) return false;
  bool user = false;
  bool assistant = false;
  bool first = false;
  bool never = false;  // in a branch that is never taken: the default system message, switched off
  for (const Tag& tag : tags) {
    if (tag.kind == '{') {
      const bool system = tag.text == "'<<SYS>>\\n'+content.strip()+'\\n<</SYS>>\\n\\n'";
      user |= tag.text == kUser;
      assistant |= tag.text == kAssistant;
      if (!system && !tag.text.starts_with("raise_exception(") &&
          !IsOneOf(tag.text, {kUser, kAssistant})) {
        return false;
      }
    } else if (tag.kind == '%' && tag.text.starts_with("set")) {
      first |= tag.text == kFirst;
      if (!never && tag.text != kFirst &&
          !IsOneOf(tag.text, {"setcontent=message['content']", "setloop_messages=messages",
                              "setloop_messages=messages[1:]", "setsystem_message=false",
                              "setsystem_message=messages[0]['content']"})) {
        return false;
      }
    } else if (tag.kind == '%') {
      never = tag.text.starts_with("eliffalse==true") || tag.text.starts_with("iffalse==true");
    }
  }
  return user && assistant && first;
}

}  // namespace skipstone
