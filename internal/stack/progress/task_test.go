package progress

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTaskOnAScreen: its line is erased before others are printed, drawn again after them, and
// gone in the end.
func TestTaskOnAScreen(t *testing.T) {
	var out bytes.Buffer
	p := New(&out)
	p.Screen(&out)
	task := p.Task("Temporal", "building")
	task.Stop() // so that the ticker writes nothing while the test does
	task.At("3 of %d packages,\x1b[2J now %s", 9, strings.Repeat("ü", 200))
	out.Reset()
	task.tell()
	line := out.String()
	require.Contains(t, line, "3 of 9 packages,[2J now üü")
	require.NotContains(t, line, "\x1b")
	require.Equal(t, 79, len([]rune(line)), "not so long that it begins another line")
	out.Reset()
	p.Line("RabbitMQ", "ready")
	require.Equal(t, "\r\x1b[KRabbitMQ     ready\n"+line, out.String())
	out.Reset()
	p.show("")
	p.Line("RabbitMQ", "ready")
	require.Equal(t, "\r\x1b[KRabbitMQ     ready\n", out.String())
}

// TestTaskElsewhere: without a screen there are whole lines.
func TestTaskElsewhere(t *testing.T) {
	var out bytes.Buffer
	p := New(&out)
	task := p.Task("Temporal", "building")
	task.Stop()
	task.Stop()
	task.begun = time.Now().Add(-time.Minute)
	task.tell()
	task.At("3 of 9 packages")
	task.tell()
	require.Equal(t, "Temporal     building …\nTemporal     still building (60 s)\nTemporal     still building (60 s): 3 of 9 packages\n", out.String())
}
