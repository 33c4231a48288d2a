package wire

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast"
)

// Bound is a consumer as its own process described it.
type Bound struct {
	Name string `json:"name"`
	// Topics are what its queue is bound to; those whose compensation notices it gets
	// have "compensated:" before them.
	Topics []string `json:"topics"`
	// Age is how long ago its process was seen, at the time of asking.
	Age time.Duration `json:"age"`
}

// noticeMark is before a topic whose compensation notices a consumer gets. No topic
// has a colon where words begin, as far as people choose them.
const noticeMark = "compensated:"

// Bindings are what a consumer's queue gets: messages to topics, and compensation
// notices for topics.
type Bindings struct{ Topics, Notices []string }

// Noticed are the topics whose notices it gets: those that are named, and those that
// are meant by a topic that ends as a notice's does.
func (to Bindings) Noticed() []string {
	out := slices.Clone(to.Notices)
	for _, topic := range to.Topics {
		of, ok := strings.CutSuffix(topic, holdfast.CompensatedSuffix)
		if ok && of != "" && !slices.Contains(out, of) {
			out = append(out, of)
		}
	}
	return out
}

// Named are bindings as a list of topics.
func (to Bindings) Named() []string {
	out := slices.Clone(to.Topics)
	for _, topic := range to.Notices {
		out = append(out, noticeMark+topic)
	}
	return out
}

func (c Bound) Bindings() (to Bindings) {
	for _, topic := range c.Topics {
		if of, ok := strings.CutPrefix(topic, noticeMark); ok {
			to.Notices = append(to.Notices, of)
		} else {
			to.Topics = append(to.Topics, topic)
		}
	}
	return to
}

// Valid reports whether a process can have described its consumer so.
func (c Bound) Valid() bool {
	to := c.Bindings()
	return len(c.Topics) <= maxBound && ValidConsumer(c.Name, slices.Concat(to.Topics, to.Notices)) == nil
}

// Matches reports whether a message with this topic is for the consumer.
func (c Bound) Matches(topic string) bool {
	words := strings.Split(topic, ".")
	return slices.ContainsFunc(c.Topics, func(p string) bool { return matchWords(strings.Split(p, "."), words) })
}

// ValidConsumer checks a consumer's name and topics.
func ValidConsumer(name string, topics []string) error {
	if err := holdfast.ValidateName("consumer", name); err != nil {
		return err
	}
	if len(topics) == 0 {
		return fmt.Errorf("%w: consumer %q has no topics", holdfast.ErrInvalid, name)
	}
	for _, t := range topics {
		if t == "" || len(t) > holdfast.MaxName {
			return fmt.Errorf("%w: consumer %q: topic %q: want 1 to %d bytes", holdfast.ErrInvalid, name, t,
				holdfast.MaxName)
		}
	}
	return nil
}

// maxBound is how many topics of one consumer are remembered.
const maxBound = 200

// Listens reports whether one of the patterns matches a topic.
func Listens(patterns []string, topic string) bool {
	words := strings.Split(topic, ".")
	return slices.ContainsFunc(patterns, func(p string) bool {
		return p == topic || matchWords(strings.Split(p, "."),
			words)
	})
}

// matchWords is AMQP's rule: * stands for one word, # for any number of words. It
// goes back to the last # only, which is enough, so a pattern cannot make it slow.
func matchWords(pattern, words []string) bool {
	p, w, hash, from := 0, 0, -1, 0
	for w < len(words) || p < len(pattern) {
		switch {
		case p < len(pattern) && pattern[p] == "#":
			hash, from = p, w
			p++
		case p < len(pattern) && w < len(words) && (pattern[p] == "*" || pattern[p] == words[w]):
			p++
			w++
		case hash >= 0 && from < len(words):
			from++
			p, w = hash+1, from
		default:
			return false
		}
	}
	return true
}

// BoundNames are the names of consumers.
func BoundNames(cs []Bound) (names []string) {
	for _, c := range cs {
		names = append(names, c.Name)
	}
	return names
}
