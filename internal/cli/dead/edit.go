package dead

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"unicode/utf8"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/seal"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

// readEdit reads another body for the message of r, and tells how it differs.
func readEdit(ctx context.Context, a *frame.App, t *server.Temporal, o *deadOrder, r deadletters.Row) error {
	body, err := frame.ReadBody(a.In, o.edit, "")
	if err != nil {
		return fmt.Errorf("--edit: %w", err)
	}
	var in deadflow.Input
	if err := t.InputOf(ctx, r.WorkflowID, r.RunID, &in); err != nil {
		return err
	}
	original, err := deadletters.Open(ctx, t.Box, in.Letter)
	if err != nil {
		return err
	}
	kind := o.contentType
	if kind == "" {
		kind = original.ContentType
	}
	media, _, _ := mime.ParseMediaType(kind)
	switch {
	case len(body) == 0:
		return text.Usagef("--edit %s: it is empty", o.edit)
	case len(body) > holdfast.MaxBody:
		return text.Usagef("--edit %s: it has more than %d bytes", o.edit, holdfast.MaxBody)
	case media == holdfast.JSON.ContentType() && !json.Valid(body):
		return text.Usagef("--edit %s: it is no JSON: say what it is with --content-type", o.edit)
	case sha256.Sum256(body) == sha256.Sum256(original.Body) && o.contentType == "":
		return text.Usagef("--edit %s: it is the body as it was: redeliver it without --edit", o.edit)
	}
	if in.Letter.Kept == "" { // else only the beginning is known, and it is refused
		text.Printf(a.Err, "original: %d bytes, sha256 %x\n", len(original.Body), sha256.Sum256(original.Body))
	}
	text.Printf(a.Err, "edited:   %d bytes, sha256 %x\n", len(body), sha256.Sum256(body))
	o.req.ContentType = o.contentType
	if t.Box.Seals() || seal.IsSealed(in.Letter.Message) {
		edited := deadletters.Original(in.Letter)
		edited.ContentType, edited.Body = kind, body
		if edited, err = t.Box.Message(ctx, edited); err != nil {
			return err
		}
		o.req.ContentType, body = edited.ContentType, edited.Body
	}
	setBody(&o.req, body)
	return nil
}

// setBody gives a request its new body: as text, which can be read in the
// history, where that is text and not too long in JSON for one of Temporal's
// payloads.
func setBody(req *deadflow.Request, body []byte) {
	text, err := json.Marshal(string(body))
	if err == nil && utf8.Valid(body) && len(text) <= base64.StdEncoding.EncodedLen(holdfast.MaxBody) {
		req.Text = string(body)
		return
	}
	req.Base64 = body
}
