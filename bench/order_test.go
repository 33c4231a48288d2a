package main

import (
	"encoding/json"
	"testing"
)

func TestBody(t *testing.T) {
	b := newMessage("t").Body
	if len(b) != bodySize || !json.Valid(b) {
		t.Errorf("a body has %d bytes, want %d of JSON: %s", len(b), bodySize, b)
	}
}

func TestBodyOfASize(t *testing.T) {
	for _, size := range []int{100, 1 << 10, 256 << 10} {
		m := newMessageOf("t", size)
		if len(m.Body) != size || numberIn(m.Body) != m.Key {
			t.Errorf("want %d bytes of order %s, got %d of %s", size, m.Key, len(m.Body), numberIn(m.Body))
		}
	}
	if got := numberIn([]byte("{}")); got != "" {
		t.Errorf("got %q", got)
	}
}
