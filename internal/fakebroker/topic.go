package fakebroker

import "strings"

// matches reports whether a topic matches a binding by AMQP's rules: * stands for
// one word, # for any number of words.
func matches(pattern, topic string) bool {
	return matchWords(strings.Split(pattern, "."), strings.Split(topic, "."))
}

func matchWords(pattern, words []string) bool {
	switch {
	case len(pattern) == 0:
		return len(words) == 0
	case pattern[0] == "#":
		for i := range len(words) + 1 {
			if matchWords(pattern[1:], words[i:]) {
				return true
			}
		}
		return false
	case len(words) == 0:
		return false
	}
	return (pattern[0] == "*" || pattern[0] == words[0]) && matchWords(pattern[1:], words[1:])
}
