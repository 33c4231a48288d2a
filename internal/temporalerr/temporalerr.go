// Package temporalerr says what an error of Temporal's client means: that the server is
// away, that it refuses what it was asked, the credentials or the namespace. Whoever calls
// Temporal uses it.
package temporalerr

import (
	"errors"
	"fmt"
	"strings"

	"go.temporal.io/api/serviceerror"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	holdfast "github.com/holdfastmq/holdfast"
)

// Unavailable makes an UnavailableError of err, unless Temporal refuses what it
// was asked.
func Unavailable(doing string, err error) error {
	remedy := "check TEMPORAL_ADDRESS and that the server runs"
	switch {
	case refuses(err):
		return fmt.Errorf("%w: %s: Temporal refuses: %w", holdfast.ErrInvalid, doing, err)
	case NoNamespace(err):
		remedy = "the namespace is not there: create it with `temporal operator namespace create`, or give the client the " +
			"right one; it is tried again"
	case Denied(err):
		err = fmt.Errorf("Temporal refuses the credentials: %w", err)
		remedy = "check TEMPORAL_API_KEY, TEMPORAL_TLS_… and TEMPORAL_NAMESPACE"
	case untrusted(err):
		remedy = "the certificate of Temporal, or this process's, does not do: check TEMPORAL_TLS_SERVER_CA_CERT_PATH, " +
			"TEMPORAL_TLS_SERVER_NAME, TEMPORAL_TLS_CLIENT_CERT_PATH and the certificate's dates; see docs/tls.md"
	}
	return &holdfast.UnavailableError{Part: "Temporal", Err: fmt.Errorf("%s: %w", doing, err), Remedy: remedy}
}

// untrusted reports whether one side does not take the other's certificate. gRPC has only the
// words of that.
func untrusted(err error) bool {
	text := err.Error()
	return strings.Contains(text, "authentication handshake failed") &&
		(strings.Contains(text, "x509: ") || strings.Contains(text, "tls: "))
}

// refuses reports whether Temporal, or its client before anything was sent, refuses what
// it was asked: asking again brings the same.
func refuses(err error) bool {
	var invalid *serviceerror.InvalidArgument
	if errors.As(err, &invalid) {
		return true
	}
	text := status.Convert(err).Message()
	return strings.Contains(text, "non-printable ASCII") || strings.Contains(text, "invalid UTF-8")
}

// Denied reports whether Temporal refuses the credentials.
func Denied(err error) bool {
	var denied *serviceerror.PermissionDenied
	return errors.As(err, &denied) || status.Code(err) == codes.Unauthenticated
}

// NoNamespace reports whether Temporal does not know the namespace.
func NoNamespace(err error) bool {
	var missing *serviceerror.NamespaceNotFound
	return errors.As(err, &missing)
}
