package core_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
)

// The examples of RFC 7386, appendix A.
func TestMerge(t *testing.T) {
	for _, c := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`{"n":12345678901234567890}`, `{"m":1.0}`, `{"m":1.0,"n":12345678901234567890}`},
		{`{"a":1}`, ``, `{"a":1}`},
		{``, `{"a":1}`, `{"a":1}`},
		{`{"a":1}`, `{"holdfast-nulls":[["a"],["b","c"]],"b":{}}`, `{"a":null,"b":{"c":null}}`},
		{`{"a":1}`, `{"holdfast-nulls":[["a","x"],["none","x"]]}`, `{"a":1}`},      // another branch of a group took it away
		{`{"a":1}`, `{"holdfast-nulls":[[]]}`, `{"a":1,"holdfast-nulls":[[]]}`},    // a field of this name
		{`{"a":1}`, `{"holdfast-nulls":["a"]}`, `{"a":1,"holdfast-nulls":["a"]}`},  // likewise
		{`{"a":1,"holdfast-nulls":[["a"]]}`, `{"holdfast-nulls":null}`, `{"a":1}`}, // an earlier version left it
	} {
		got, err := core.Merge(json.RawMessage(c[0]), json.RawMessage(c[1]))
		require.NoError(t, err, c)
		require.Equal(t, c[2], string(got), c)
	}
	for _, c := range [][2]string{{`{`, `{}`}, {`{}`, `{`}, {`{}`, `{} {}`}, {`{} x`, `{}`}} {
		_, err := core.Merge(json.RawMessage(c[0]), json.RawMessage(c[1]))
		require.Error(t, err, c)
		_, err = core.Diff(json.RawMessage(c[0]), json.RawMessage(c[1]))
		require.Error(t, err, c)
	}
}

func TestDiff(t *testing.T) {
	for _, c := range [][3]string{
		{`{"a":1,"b":2}`, `{"b":2,"a":1}`, ``},
		{`{"a":1}`, `{"a":1,"b":null}`, `{"holdfast-nulls":[["b"]]}`},
		{`{"a":null}`, `{}`, `{"a":null}`},
		{`{"a":null}`, `{"a":null}`, ``},
		{`{"a":null}`, `{"a":{}}`, `{"a":{}}`},
		{`{"a":1}`, `{}`, `{"a":null}`},
		{`{"a":1}`, `{"a":null}`, `{"a":null,"holdfast-nulls":[["a"]]}`},
		{`{"a":{"x":1,"y":null}}`, `{"a":{"x":2,"y":null}}`, `{"a":{"x":2}}`},
		{`{"a":1}`, `{"a":1,"m":{"b":null,"c":{"d":null}}}`, `{"holdfast-nulls":[["m","b"],["m","c","d"]],"m":{"c":{}}}`},
		{`{"n":9007199254740993}`, `{"n":9007199254740992}`, `{"n":9007199254740992}`},
		{`{"a":{"b":1,"c":2}}`, `{"a":{"b":1,"c":3}}`, `{"a":{"c":3}}`},
		{`{"a":{"b":1}}`, `{"a":{}}`, `{"a":{"b":null}}`},
		{`{"a":[1,2]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"a":1}`, `{"a":{"b":null,"c":[null]}}`, `{"a":{"c":[null]},"holdfast-nulls":[["a","b"]]}`},
		{`1`, `2`, `2`},
		{`1`, `null`, `null`},
		{``, `{"a":1}`, `{"a":1}`},
	} {
		got, err := core.Diff(json.RawMessage(c[0]), json.RawMessage(c[1]))
		require.NoError(t, err, c)
		require.Equal(t, c[2], string(got), c)
	}
}

func TestCheckData(t *testing.T) {
	require.NoError(t, core.CheckData(make([]byte, core.MaxData)))
	err := core.CheckData(make([]byte, core.MaxData+1))
	require.ErrorIs(t, err, holdfast.ErrTooLarge)
	require.ErrorContains(t, err, "262145 bytes of JSON, the limit is 262144")
}

// Whatever a step makes of the state, its patch makes the same of it.
func FuzzMergeOfDiff(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `{"a":{"b":[1,{"c":null}]},"d":null}`, `[]`, `null`, `{"a":{}}`, `{"a":{"b":null}}`, `"x"`, `1e400`, `{"":{"":0}}`, `[{"a":null}]`,
		`{"a":{"b":null,"c":{"b":null}},"x":null}`, `{"a":null,"b":{"c":null}}`, `{"":null}`, `{"a":{"b":{}},"x":9007199254740993}`} {
		f.Add([]byte(s), []byte(`{"a":2,"b":{"c":"<&>"}}`))
		f.Add([]byte(`{"a":{"b":1},"x":[1]}`), []byte(s))
		f.Add([]byte(s), []byte(`{"a":{"b":null,"c":null},"b":{"c":{}},"d":null}`))
	}
	f.Fuzz(func(t *testing.T, before, after []byte) {
		if !json.Valid(before) || !json.Valid(after) || strings.Contains(string(before)+string(after), "holdfast-nulls") {
			t.Skip()
		}
		patch, err := core.Diff(before, after)
		require.NoError(t, err)
		got, err := core.Merge(before, patch)
		require.NoError(t, err)
		require.True(t, reflect.DeepEqual(value(t, after), value(t, got)), "%s + %s = %s, want %s", before, patch, got, after)
		again, err := core.Diff(after, got)
		require.NoError(t, err)
		require.Empty(t, again, "nothing is left to change")
	})
}

// value is JSON with its numbers as they are written.
func value(t *testing.T, data []byte) any {
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.UseNumber()
	var v any
	require.NoError(t, d.Decode(&v))
	return v
}
