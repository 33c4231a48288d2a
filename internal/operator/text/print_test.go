package text

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m01s", 90 * time.Minute: "1h30m", 50 * time.Hour: "2d02h",
	} {
		require.Equal(t, want, Age(d))
	}
}

// What others wrote cannot steer the terminal, in however many pieces it comes.
func TestPlainOutput(t *testing.T) {
	evil := "a\x1b[2J\x1b]0;title\x07b\r\u009b1mc\u202egpj.exe\u2066\xff\u200f é\t\n"
	for size := 1; size <= len(evil); size++ {
		var out bytes.Buffer
		w := Plain(&out)
		for text := []byte(evil); len(text) > 0; text = text[min(size, len(text)):] {
			n, err := w.Write(text[:min(size, len(text))])
			require.NoError(t, err)
			require.Equal(t, min(size, len(text)), n)
		}
		require.Equal(t, "a[2J]0;titleb1mcgpj.exe é\t\n", out.String(), size)
	}
	var out bytes.Buffer
	w := Plain(Plain(&out))
	Printf(w, "%s|", Palette(true).Paint(LevelProblem, "word"))
	require.Equal(t, "\x1b[31mword\x1b[0m|", out.String(), "our own colours")
	require.Equal(t, io.Writer(&out), Raw(w))

	out.Reset()
	require.NoError(t, JSON(w, map[string]string{"key": "\x1b\u202e\u009b<é"}))
	require.Equal(t, "{\n  \"key\": \"\\u001b\\u202e\\u009b<é\"\n}\n", out.String(), "programs get all of it")
}
