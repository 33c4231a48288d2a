package sagahandle

import (
	"encoding/json"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func isTold(e *End) bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

func TestEnds(t *testing.T) {
	var s ends
	s.tell("nobody's", verdict{})
	a, b, c := s.expect("a"), s.expect("a"), s.expect("c")
	s.look("a")
	s.look("a")
	require.Len(t, a.look, 1)
	require.Empty(t, c.look)
	s.forget(b)
	s.forget(b)
	s.tell("a", verdict{data: json.RawMessage("1")})
	s.tell("a", verdict{data: json.RawMessage("2")})
	require.True(t, isTold(a))
	require.Equal(t, "1", string(a.verdict.data))
	require.False(t, isTold(b))
	require.False(t, isTold(c))
	s.forget(a)
	s.forget(c)
	require.Empty(t, s.byID)
	require.Zero(t, s.oldest.Len())
}

func TestEndsAreBounded(t *testing.T) {
	var s ends
	first := s.expect("first")
	for i := range maxEnds {
		s.expect(strconv.Itoa(i))
	}
	require.Equal(t, maxEnds, s.oldest.Len())
	require.Len(t, s.byID, maxEnds)
	s.tell("first", verdict{})
	require.False(t, isTold(first), "it asks Temporal")
	s.tell(strconv.Itoa(maxEnds-1), verdict{})
	require.Len(t, s.byID, maxEnds-1)
}
