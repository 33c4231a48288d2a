package jsonerr_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/jsonerr"
)

type order struct {
	Amount int
	At     time.Time
	In     struct{ Card []int }
	Odd    odd
}

var errOdd = errors.New("odd")

type odd struct{}

func (*odd) UnmarshalJSON(data []byte) error { return fmt.Errorf("%w: %s", errOdd, data) }

// What is said of a text that does not decode quotes nothing of it.
func TestClean(t *testing.T) {
	t.Parallel()
	require.NoError(t, jsonerr.Clean(nil))
	for text, want := range map[string]string{
		`{"Amount":4711.5}`:       "a JSON number does not fit Go type int of field Amount, at byte 16",
		`{"Amount":"4711"}`:       "a JSON string does not fit Go type int of field Amount, at byte 16",
		`{"In":{"Card":"4711"}}`:  "a JSON string does not fit Go type []int of field In.Card, at byte 20",
		`{"Amount":47114711x}`:    "it is no JSON from byte 19 on",
		`{"Amount":4711`:          "it is no JSON from byte 14 on",
		`4711`:                    "a JSON number does not fit Go type jsonerr_test.order, at byte 4",
		`{"At":"4711"}`:           "error of type *time.ParseError, whose text may quote it",
		`{"Odd":4711}`:            "error of type *errors.errorString, whose text may quote it",
		`{"At":"4711-11-47T11Z"}`: "error of type *time.ParseError, whose text may quote it",
	} {
		plain := json.Unmarshal([]byte(text), new(order))
		require.Error(t, plain, text)
		err := fmt.Errorf("decode: %w", jsonerr.Clean(plain))
		require.EqualError(t, err, "decode: "+want)
		for e := err; e != nil; e = errors.Unwrap(e) {
			require.NotContains(t, e.Error(), "4711")
		}
		if errors.Is(plain, errOdd) {
			require.ErrorIs(t, err, errOdd)
		}
		var syntax *json.SyntaxError
		require.Equal(t, errors.As(plain, &syntax), errors.As(err, &syntax))
	}
}
