package workflows

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestJSONLength(t *testing.T) {
	for _, key := range []string{"", "A-1007", `"quoted" \\ <&>`, "grüße", "\u2028\u2029"} {
		text, err := json.Marshal(key)
		require.NoError(t, err)
		require.Equal(t, len(text), JSONLength(key), key)
	}
}

func TestFindableID(t *testing.T) {
	for id, want := range map[string]string{
		"0190a5b4-0000-7000-8000-12345678abcd":     "12345678abcd",
		"7d444840-9dc0-41d1-b245-5ffdce74fad2":     "5ffdce74fad2",
		"c232ab00-9414-11ec-b3c8-9f68deced846":     "", // all of one machine's end alike
		"7D444840-9DC0-41D1-B245-5FFDCE74FAD2":     "",
		"{7d444840-9dc0-41d1-b245-5ffdce74fad2}":   "",
		"order-7d444840-9dc0-41d1-b245-5ffdce74fa": "",
		"order-1007": "", "5ffdce74fad2": "", "": "",
	} {
		if want == "" {
			want = id
		}
		require.Equal(t, want, FindableID(id), id)
	}
}
