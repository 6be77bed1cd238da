#include <string>

#include "absl/strings/str_replace.h"
#include "engine/model/tokenizer.h"
#include "gtest/gtest.h"

namespace skipstone {
namespace {

// As published with Llama 2's chat models.
const std::string kLlama2 =
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}"
    "{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
    "{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}"
    "{% endif %}{% endfor %}";

std::string With(const std::string& from, const std::string& to) {
  const std::string changed = absl::StrReplaceAll(kLlama2, {{from, to}});
  EXPECT_NE(changed, kLlama2) << from;
  return changed;
}

TEST(ChatFormTest, KnowsLlama2sTemplateHoweverItIsLaidOut) {
  EXPECT_TRUE(IsLlama2ChatTemplate(kLlama2));
  EXPECT_TRUE(IsLlama2ChatTemplate(With("{% ", "\n  {%- ")));
  EXPECT_TRUE(IsLlama2ChatTemplate(With(" %}", " -%}\n")));
  EXPECT_TRUE(IsLlama2ChatTemplate(With("'", "\"")));
  EXPECT_TRUE(IsLlama2ChatTemplate(With("message['content']", "message.content")));
  EXPECT_TRUE(IsLlama2ChatTemplate(With("content.strip()", "content | trim")));
  EXPECT_TRUE(IsLlama2ChatTemplate(With(" + ", "~")));
  EXPECT_TRUE(IsLlama2ChatTemplate("{# Llama 2 #}\n" + kLlama2 + "\n"));
}

// The form that transformers wrote before: with a system message among the others, and with the
// default one switched off.
TEST(ChatFormTest, KnowsTheOlderForm) {
  const std::string older = With(
      "{% else %}{% set loop_messages",
      "{% elif false == true and not '<<SYS>>' in messages[0]['content'] %}"
      "{% set loop_messages = messages %}{% set system_message = 'You are a helpful assistant' %}"
      "{% else %}{% set loop_messages");
  EXPECT_TRUE(IsLlama2ChatTemplate(older));
  EXPECT_TRUE(IsLlama2ChatTemplate(
      absl::StrReplaceAll(older, {{"{% elif message['role'] == 'assistant' %}",
                                   "{% elif message['role'] == 'system' %}"
                                   "{{ '<<SYS>>\\n' + content.strip() + '\\n<</SYS>>\\n\\n' }}"
                                   "{% elif message['role'] == 'assistant' %}"}})));
  // Switched on it writes what was never asked for.
  EXPECT_FALSE(
      IsLlama2ChatTemplate(absl::StrReplaceAll(older, {{"false == true", "true == true"}})));
}

TEST(ChatFormTest, KnowsOtherTemplatesAsOthers) {
  const std::string others[] = {
      // ChatML
      "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
      "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}",
      // Llama 2's words, but the system message before [INST], and nothing stripped
      "{% for message in messages %}{% if message['role'] == 'user' %}"
      "{{ bos_token + '[INST] ' + message['content'] + ' [/INST]' }}"
      "{% elif message['role'] == 'system' %}"
      "{{ '<<SYS>>\\n' + message['content'] + '\\n<</SYS>>\\n\\n' }}"
      "{% elif message['role'] == 'assistant' %}"
      "{{ ' '  + message['content'] + ' ' + eos_token }}{% endif %}{% endfor %}",
      // no system message
      "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
      "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}"
      "{{ message['content'] + eos_token}}{% endif %}{% endfor %}",
      With("' [/INST]'", "' [/INST] '"),
      With("bos_token + ", ""),
      With(" + eos_token", ""),
      With("content.strip()", "content"),
      With("\\n<</SYS>>\\n\\n", "\\n<</SYS>>\\n"),
      With("set system_message = false", "set system_message = 'Be brief.'"),
      kLlama2 + "{{ 'more' }}",
      kLlama2 + "text",
      kLlama2 + "{{ bos_token",
      "{% set content = 1 %}",
      "text",
      "{",
      "",
  };
  for (const std::string& other : others) EXPECT_FALSE(IsLlama2ChatTemplate(other)) << other;
}

}  // namespace
}  // namespace skipstone
