package process

import (
	"io"
	"os"
	"strings"
)

// LastLines is the end of a text, at most n lines and 4 KiB.
func LastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	tail := strings.Join(lines, "\n")
	if len(tail) > 4096 {
		tail = "…" + tail[len(tail)-4096:]
	}
	return tail
}

// LogTail is the end of a log file, of what was written after offset.
func LogTail(path string, offset int64, n int) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	if end, err := f.Seek(0, io.SeekEnd); err == nil {
		if _, err := f.Seek(max(offset, end-64<<10), io.SeekStart); err != nil {
			return ""
		}
	}
	text, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return ""
	}
	return LastLines(string(text), n)
}
