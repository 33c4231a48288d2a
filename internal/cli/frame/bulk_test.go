package frame

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConfirmation(t *testing.T) {
	for answer, want := range map[string]error{"y\n": nil, "YES\n": nil, "n\n": errUnconfirmed, "\n": errUnconfirmed, "": errUnconfirmed, "yes please\n": errUnconfirmed} {
		var asked bytes.Buffer
		require.ErrorIs(t, confirmed(t.Context(), &asked, strings.NewReader(answer), "Discard 3 dead letters?"), want, answer)
		require.Equal(t, "Discard 3 dead letters? [y/N] ", asked.String())
	}
	in, w := io.Pipe() // nobody answers
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, confirmed(ctx, io.Discard, in, "?"), errUnconfirmed)
	require.NoError(t, w.Close())

	a := &App{Surroundings: Surroundings{In: strings.NewReader("y\n")}}
	b := &Bulk{Things: Things{Noun: "dead letter"}, Verb: "discard"}
	require.ErrorContains(t, a.confirm(t.Context(), b, 2, false), "this would discard 2 dead letters: add --yes")
	require.NoError(t, a.confirm(t.Context(), b, 1, false))
	require.NoError(t, a.confirm(t.Context(), b, 1, true))
	b.yes = true
	require.NoError(t, a.confirm(t.Context(), b, 2, false))
}
