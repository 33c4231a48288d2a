package holdfast

import (
	"encoding/json"
	"fmt"
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
func (jsonCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

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
// not decode later either.
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
