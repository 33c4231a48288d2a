package orders

import (
	"encoding/json"
	"testing"
)

func TestBody(t *testing.T) {
	b := newMessage("t").Body
	if len(b) != BodySize || !json.Valid(b) {
		t.Errorf("a body has %d bytes, want %d of JSON: %s", len(b), BodySize, b)
	}
}

func TestBodyOfASize(t *testing.T) {
	for _, size := range []int{100, 1 << 10, 256 << 10} {
		m := NewMessageOf("t", size)
		if len(m.Body) != size || NumberIn(m.Body) != m.Key {
			t.Errorf("want %d bytes of order %s, got %d of %s", size, m.Key, len(m.Body), NumberIn(m.Body))
		}
	}
	if got := NumberIn([]byte("{}")); got != "" {
		t.Errorf("got %q", got)
	}
}
