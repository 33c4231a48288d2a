package holdfast

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/holdfastmq/holdfast/internal/jsonerr"
)

// Codec turns values into bodies and back. Its methods are called from many
// goroutines.
type Codec interface {
	// ContentType is the media type that messages are marked with.
	ContentType() string
	Marshal(v any) ([]byte, error)
	Unmarshal(data []byte, v any) error
}

// JSON is the default codec.
var JSON Codec = jsonCodec{}

type jsonCodec struct{}

func (jsonCodec) ContentType() string                { return "application/json" }
func (jsonCodec) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (jsonCodec) Unmarshal(data []byte, v any) error { return jsonerr.Clean(json.Unmarshal(data, v)) }

// Topic is a topic whose messages carry a T. Declare it once, next to T, and
// use it on both sides:
//
//	var OrderPlaced = holdfast.Topic[Order]{Name: "order.placed"}
type Topic[T any] struct {
	// Name is the routing key. Required.
	Name string
	// Codec encodes the bodies; nil means [JSON].
	Codec Codec
}

// Message returns a message that carries v, with the business key key.
func (t Topic[T]) Message(key string, v T) (Message, error) {
	m := Message{Topic: t.Name, Key: key}
	return m, t.Encode(&m, v)
}

// Encode makes v the body of m, for example inside the local transaction, once
// a generated number is known.
func (t Topic[T]) Encode(m *Message, v T) error {
	body, err := t.codec().Marshal(v)
	if err != nil {
		return fmt.Errorf("%w: encode the message to %q: %w", ErrInvalid, t.Name, err)
	}
	m.Body, m.ContentType = body, t.codec().ContentType()
	return nil
}

// Decode returns what m carries. An error is permanent: the same bytes will
// not decode later either. One of [JSON] quotes nothing of the body.
func (t Topic[T]) Decode(m Message) (T, error) {
	var v T
	if err := t.codec().Unmarshal(m.Body, &v); err != nil {
		return v, Permanent(fmt.Errorf("%w: decode message %s to %q as %T: %w", ErrMalformed, m.ID, m.Topic, v, err))
	}
	return v, nil
}

func (t Topic[T]) codec() Codec {
	if t.Codec == nil {
		return JSON
	}
	return t.Codec
}

// ValidatePattern checks what a consumer subscribes to: words separated by dots, each of
// which is a word of a topic, * for any one, or # for any number of them. The error, which
// wraps [ErrInvalid], names the pattern; a pattern that no topic can match is one.
func ValidatePattern(pattern string) error {
	if pattern == "" {
		return fmt.Errorf("%w: the pattern is empty: subscribe to a topic such as \"order.placed\", "+
			"or to \"#\", which is all of them", ErrInvalid)
	}
	if err := validText("pattern", pattern, MaxName, " \t"); err != nil {
		return fmt.Errorf("%w: no topic has that", err)
	}
	for word := range strings.SplitSeq(pattern, ".") {
		switch {
		case word == "":
			return fmt.Errorf("%w: the pattern %q has an empty word, and would match nothing: "+
				"take a dot away, or write * for a word", ErrInvalid, pattern)
		case word != "*" && word != "#" && strings.ContainsAny(word, "*#"):
			return fmt.Errorf("%w: the pattern %q would match nothing: "+
				"* and # stand for whole words, as in \"order.*\" and \"order.#\", and not for a part of the word %q",
				ErrInvalid, pattern, word)
		}
	}
	return nil
}
