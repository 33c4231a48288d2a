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
