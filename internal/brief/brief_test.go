package brief_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/brief"
)

func TestText(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{"": "", "12345": "12345", "123456": "12…", "1éüö": "1…", "ééé": "é…"} {
		require.Equal(t, want, brief.Text(s, 5), s)
	}
}
