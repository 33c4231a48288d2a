package holdfast_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
)

// FuzzMessageJSON: whatever the body, JSON gives back the same bytes, and is not
// much longer than base64 would be.
func FuzzMessageJSON(f *testing.F) {
	for _, body := range []string{"", "{}", `{"a":"\u0000"}`, "\x00\xff", "\u2028<>&", strings.Repeat("\n", 100), "grüße", "\xed\xa0\x80"} {
		f.Add([]byte(body), "value")
	}
	f.Fuzz(func(t *testing.T, body []byte, header string) {
		m := holdfast.Message{ID: "1", Topic: "order.placed", Key: "k", ContentType: "text/plain", Body: body, AllowUnrouted: true}
		if strings.ToValidUTF8(header, "") == header {
			m.Headers = map[string]string{"h": header}
		}
		text, err := json.Marshal(m)
		require.NoError(t, err)
		var back holdfast.Message
		require.NoError(t, json.Unmarshal(text, &back))
		require.True(t, m.Equal(back), "%q became %q", body, back.Body)
		bare, err := json.Marshal(holdfast.Message{Topic: "t", Body: body})
		require.NoError(t, err)
		require.LessOrEqual(t, len(bare), 4*(len(body)+3)/3+64)
	})
}

func TestMessageJSONWithTwoBodies(t *testing.T) {
	var m holdfast.Message
	err := json.Unmarshal([]byte(`{"topic":"t","text":"a","base64":"YQ=="}`), &m)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
}

func TestValidate(t *testing.T) {
	good := holdfast.Message{Topic: "order.placed", Key: "A 1007", Headers: map[string]string{"tenant": "north"}}
	for name, tc := range map[string]struct {
		change func(*holdfast.Message)
		want   error
		text   string
	}{
		"good":                {func(*holdfast.Message) {}, nil, ""},
		"empty topic":         {func(m *holdfast.Message) { m.Topic = "" }, holdfast.ErrInvalid, "the topic is empty"},
		"wildcard":            {func(m *holdfast.Message) { m.Topic = "order.*" }, holdfast.ErrInvalid, "order.*"},
		"long topic":          {func(m *holdfast.Message) { m.Topic = strings.Repeat("x", 201) }, holdfast.ErrInvalid, "201 bytes"},
		"key not UTF-8":       {func(m *holdfast.Message) { m.Key = "\xff" }, holdfast.ErrInvalid, "UTF-8"},
		"control character":   {func(m *holdfast.Message) { m.Key = "a\nb" }, holdfast.ErrInvalid, "control"},
		"slash in ID":         {func(m *holdfast.Message) { m.ID = "a/b" }, holdfast.ErrInvalid, "contains"},
		"reserved header":     {func(m *holdfast.Message) { m.Headers = map[string]string{"Holdfast-tx": ""} }, holdfast.ErrInvalid, "Holdfast's own"},
		"header without name": {func(m *holdfast.Message) { m.Headers = map[string]string{"": "x"} }, holdfast.ErrInvalid, "empty name"},
		"header not UTF-8":    {func(m *holdfast.Message) { m.Headers = map[string]string{"x": "\xff"} }, holdfast.ErrInvalid, "base64"},
		"headers too long": {func(m *holdfast.Message) {
			m.Headers = map[string]string{"x": strings.Repeat("y", holdfast.MaxHeaders)}
		}, holdfast.ErrTooLarge, "headers"},
	} {
		t.Run(name, func(t *testing.T) {
			m := good.Clone()
			tc.change(&m)
			err := m.Validate()
			require.ErrorIs(t, err, tc.want)
			if tc.want != nil {
				require.ErrorContains(t, err, tc.text)
			}
		})
	}
}

func TestValidateMessages(t *testing.T) {
	m := holdfast.Message{Topic: "t", Body: make([]byte, 600)}
	require.NoError(t, holdfast.ValidateMessages([]holdfast.Message{m}, 0))
	require.ErrorIs(t, holdfast.ValidateMessages(nil, 0), holdfast.ErrInvalid)
	require.ErrorIs(t, holdfast.ValidateMessages([]holdfast.Message{m, m}, 1000), holdfast.ErrTooLarge)
	require.ErrorIs(t, holdfast.ValidateMessages(make([]holdfast.Message, holdfast.MaxMessages+1), 0), holdfast.ErrTooLarge)
	m.Headers = map[string]string{"x": strings.Repeat("y", holdfast.MaxHeaders-1)}
	require.ErrorContains(t, holdfast.ValidateMessages([]holdfast.Message{m, m, m, m, m}, 0), "headers in the transaction")
}

func TestValidateTxID(t *testing.T) {
	for id, ok := range map[string]bool{"": true, "order-7": true, "2026.11": false, "order-7.1": false, "v1.2b": true,
		"7": true, "a/b": false, strings.Repeat("x", 101): false, ".": true, ".1": false} {
		require.Equal(t, ok, holdfast.ValidateTxID(id) == nil, id)
	}
}

func TestNumberMessages(t *testing.T) {
	one := make([]holdfast.Message, 1)
	holdfast.NumberMessages("tx", one)
	require.Equal(t, "tx", one[0].ID)
	two := make([]holdfast.Message, 2)
	holdfast.NumberMessages("tx", two)
	require.Equal(t, []string{"tx.1", "tx.2"}, []string{two[0].ID, two[1].ID})
}

func TestResolutionText(t *testing.T) {
	require.Zero(t, holdfast.Unknown, "the zero value must be the safe one")
	for _, r := range []holdfast.Resolution{holdfast.Unknown, holdfast.Commit, holdfast.Rollback} {
		text, err := r.MarshalText()
		require.NoError(t, err)
		var back holdfast.Resolution
		require.NoError(t, back.UnmarshalText(text))
		require.Equal(t, r, back)
	}
	_, err := holdfast.Resolution(3).MarshalText()
	require.Error(t, err)
	var r holdfast.Resolution
	require.Error(t, r.UnmarshalText([]byte("committed")))
}

func TestPermanent(t *testing.T) {
	cause := errors.New("no such account")
	require.NoError(t, holdfast.Permanent(nil))
	require.True(t, holdfast.IsPermanent(fmt.Errorf("charge: %w", holdfast.Permanent(cause))))
	require.ErrorIs(t, holdfast.Permanent(cause), cause)
	require.False(t, holdfast.IsPermanent(cause))
}

// upper is a codec of the example's own.
type upper struct{}

func (upper) ContentType() string           { return "text/plain" }
func (upper) Marshal(v any) ([]byte, error) { return []byte(strings.ToUpper(*v.(*string))), nil }
func (upper) Unmarshal(data []byte, v any) error {
	*v.(*string) = string(data)
	return nil
}

func TestTopicWithCodec(t *testing.T) {
	topic := holdfast.Topic[*string]{Name: "shout", Codec: upper{}}
	word := "hello"
	m, err := topic.Message("k", &word)
	require.NoError(t, err)
	require.Equal(t, "text/plain", m.ContentType)
	require.Equal(t, "HELLO", string(m.Body))
}

func ExampleTopic() {
	type Order struct {
		ID     string `json:"id"`
		Amount int64  `json:"amount"`
	}
	placed := holdfast.Topic[Order]{Name: "order.placed"}

	m, err := placed.Message("A-1007", Order{ID: "A-1007", Amount: 4200})
	fmt.Println(m.Topic, m.Key, string(m.Body), err)
	o, err := placed.Decode(m)
	fmt.Println(o.Amount, err)

	_, err = placed.Decode(holdfast.Message{ID: "1", Topic: "order.placed", Body: []byte("not JSON")})
	fmt.Println("permanent:", holdfast.IsPermanent(err))
	// Output:
	// order.placed A-1007 {"id":"A-1007","amount":4200} <nil>
	// 4200 <nil>
	// permanent: true
}

func TestValidatePattern(t *testing.T) {
	for _, pattern := range []string{"#", "*", "order.placed", "order.*", "order.#", "#.placed", "*.*", "注文.placed", "order-1.a_b"} {
		require.NoError(t, holdfast.ValidatePattern(pattern), "%q", pattern)
	}
	for pattern, why := range map[string]string{
		"": "empty", ".": "empty word", "order.": "empty word", ".order": "empty word", "order..placed": "empty word",
		"order.placed ": "' '", " order": "' '", "order.\tplaced": "control", "order\n": "control", "\xff": "UTF-8",
		"order.*placed": "whole words", "orders#": "whole words", "order.**": "whole words", "order.##": "whole words", "#placed": "whole words",
		strings.Repeat("a", holdfast.MaxName+1): "limit",
	} {
		err := holdfast.ValidatePattern(pattern)
		require.ErrorIs(t, err, holdfast.ErrInvalid, "%q", pattern)
		require.ErrorContains(t, err, why)
	}
}
