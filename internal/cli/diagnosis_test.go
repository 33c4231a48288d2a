package cli

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/golden"
)

func TestPrintDiagnosis(t *testing.T) {
	d := diagnosis{Findings: []finding{
		{"RabbitMQ", "version", levelOK, "RabbitMQ 3.10.8", ""},
		{"RabbitMQ", "dead letters", levelWarning, "3 wait in holdfast.dead", "look at them"},
		{"Temporal", "connection", levelProblem, "refused", "start it"},
	}}
	var out bytes.Buffer
	require.NoError(t, printDiagnosis(&out, d, false))
	golden.Equal(t, "doctor.txt", out.String())
	out.Reset()
	require.NoError(t, printDiagnosis(&out, d, true))
	golden.Equal(t, "doctor-colours.txt", out.String())
}
