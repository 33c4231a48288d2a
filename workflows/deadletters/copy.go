package deadletters

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
)

// MemoDeath is the field of a dead letter's memo that tells its first death from
// others; empty where that is not known.
const MemoDeath = "holdfast-death"

// Content is a digest of what a dead letter is about: two messages of one ID are
// copies of each other only if it is the same.
func Content(d holdfast.DeadLetter) string {
	owner := d.Failure.Consumer
	if owner == "" {
		owner = d.Queue
	}
	sum := sha256.New()
	for _, s := range []string{owner, d.Message.Topic, d.Message.Key, d.Message.ContentType, string(d.Message.Body)} {
		_ = binary.Write(sum, binary.BigEndian, uint64(len(s)))
		sum.Write([]byte(s))
	}
	_ = binary.Write(sum, binary.BigEndian, uint64(d.Size))
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// Death tells one death of a message from another; empty where nothing does: the
// broker counts in seconds, and others say nothing.
func Death(d holdfast.DeadLetter) string {
	if d.Failure.Class == holdfast.ClassDropped || d.Failure.At.IsZero() || d.Failure.Consumer == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(d.Failure.At.UTC().Format(time.RFC3339Nano)))
	return hex.EncodeToString(sum[:8])
}

// What divides the parts of a dead letter's Copy: ~CONTENT where it is another content
// than the first letter's of its ID, .DEATH where the first has been settled.
const (
	contentMark = "~"
	deathMark   = "."
)

// CopyWith returns the Copy of a letter of other content.
func CopyWith(content string) string { return contentMark + content[:16] }

// CopyAfter returns the Copy of a letter that died after the one with copy was settled.
func CopyAfter(copy, death string) string { return OtherContent(copy) + deathMark + death }

// OtherContent is the part of a Copy that says that the content is another than that of
// the first letter of its ID; empty where it is the same.
func OtherContent(copy string) string {
	content, _, _ := strings.Cut(copy, deathMark)
	return content
}
