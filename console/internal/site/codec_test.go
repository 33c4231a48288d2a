package site

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/encoding/protojson"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/console/internal/audit"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/seal"
	"github.com/holdfastmq/holdfast/keyring"
)

// TestCodec: Temporal's web UI is shown what is encrypted, if an operator who is logged in here looks; no
// other site is, and without a keyring there is no codec.
func TestCodec(t *testing.T) {
	t.Parallel()
	const ui = "https://temporal.example.com"
	path := filepath.Join(t.TempDir(), "k.json")
	_, err := keyring.New(path)
	require.NoError(t, err)
	k, err := keyring.Open(path)
	require.NoError(t, err)
	box := seal.New(k, holdfast.EncryptionOn)
	state, err := box.State(t.Context(), "saga/g/pay/1", json.RawMessage(`{"card":"4711","by":{"name":"ann"}}`))
	require.NoError(t, err)
	m, err := box.Message(t.Context(), holdfast.Message{ID: "m", Topic: "t", ContentType: "text/plain", Body: []byte("secret body")})
	require.NoError(t, err)
	payload, err := converter.GetDefaultDataConverter().ToPayload(map[string]any{"data": state, "messages": []holdfast.Message{m}, "n": 12})
	require.NoError(t, err)
	sent, err := protojson.Marshal(&commonpb.Payloads{Payloads: []*commonpb.Payload{payload}})
	require.NoError(t, err)
	require.NotContains(t, string(payload.Data), "4711")

	house := func(box *seal.Box) *house {
		h := build(t)
		o := h.site.Options
		if o.CodecOrigin = ui; box != nil {
			o.Codec = server.Codec{Box: box}
		}
		h.site = New(o)
		h.web = httptest.NewServer(h.site)
		t.Cleanup(h.web.Close)
		return h
	}
	ask := func(b *browser, method, path, origin string) answer {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, b.h.web.URL+path, strings.NewReader(string(sent)))
		require.NoError(t, err)
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		r.Header.Set("Content-Type", "application/json")
		got, err := b.c.Do(r)
		require.NoError(t, err)
		defer func() { _ = got.Body.Close() }()
		text, err := io.ReadAll(got.Body)
		require.NoError(t, err)
		return answer{got.StatusCode, string(text), "", got.Header}
	}
	require.Equal(t, http.StatusNotFound, ask(house(nil).as("viewer"), http.MethodPost, "/codec/decode", ui).status, "no keyring")

	h := house(box)
	viewer, operator := h.as("viewer"), h.as("operator")
	require.Equal(t, http.StatusUnauthorized, ask(h.browser(), http.MethodPost, "/codec/decode", ui).status)
	for _, origin := range []string{"", "https://evil.example.com", ui + ":8443", "null", h.web.URL} {
		got := ask(operator, http.MethodPost, "/codec/decode", origin)
		require.Equal(t, http.StatusForbidden, got.status, origin)
		require.Empty(t, got.header.Get("Access-Control-Allow-Origin"))
		require.NotContains(t, got.body, "4711")
	}
	before := ask(h.browser(), http.MethodOptions, "/codec/decode", ui)
	require.Equal(t, []any{http.StatusNoContent, ui, "true"}, []any{before.status, before.header.Get("Access-Control-Allow-Origin"),
		before.header.Get("Access-Control-Allow-Credentials")})
	got := ask(viewer, http.MethodPost, "/codec/decode", ui)
	require.Equal(t, http.StatusForbidden, got.status)
	require.NotContains(t, got.body, "4711")
	require.Contains(t, got.body, "The codec is for the role operator")
	refused := h.entries()
	require.Equal(t, []string{"codec", audit.Refused, "viewer (authenticated by file)"}, []string{refused[0].Action, refused[0].Outcome, refused[0].Who})
	got = ask(operator, http.MethodPost, "/codec/decode", ui)
	require.Equal(t, http.StatusOK, got.status, got.body)
	require.Equal(t, ui, got.header.Get("Access-Control-Allow-Origin"))
	var back commonpb.Payloads
	require.NoError(t, protojson.Unmarshal([]byte(got.body), &back))
	require.JSONEq(t, `{"data":{"card":"4711","by":{"name":"ann"}},"messages":[{"id":"m","topic":"t","content_type":"text/plain",
		"text":"secret body"}],"n":12}`, string(back.Payloads[0].Data))

	h.pass(20 * time.Minute)
	require.Equal(t, http.StatusOK, ask(operator, http.MethodPost, "/codec/decode", ui).status)
	h.pass(20 * time.Minute)
	require.Equal(t, http.StatusUnauthorized, ask(operator, http.MethodPost, "/codec/decode", ui).status,
		"what the UI asks by itself does not keep a session alive")

	_, err = keyring.New(path + "2")
	require.NoError(t, err)
	other, err := keyring.Open(path + "2")
	require.NoError(t, err)
	got = ask(house(seal.New(other, holdfast.EncryptionOn)).as("operator"), http.MethodPost, "/codec/decode", ui)
	require.Equal(t, http.StatusOK, got.status)
	require.NoError(t, protojson.Unmarshal([]byte(got.body), &back))
	require.JSONEq(t, string(payload.Data), string(back.Payloads[0].Data), "it stays as it is")
}
