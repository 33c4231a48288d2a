package doctor

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/golden"
	"github.com/holdfastmq/holdfast/internal/operator/doctor"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

func TestPrintDiagnosis(t *testing.T) {
	d := doctor.Diagnosis{Findings: []doctor.Finding{
		{Part: "RabbitMQ", Check: "version", Level: text.LevelOK, Detail: "RabbitMQ 3.10.8"},
		{Part: "RabbitMQ", Check: "dead letters", Level: text.LevelWarning, Detail: "3 wait in holdfast.dead", Remedy: "look at them"},
		{Part: "Temporal", Check: "connection", Level: text.LevelProblem, Detail: "refused", Remedy: "start it"},
	}}
	var out bytes.Buffer
	require.NoError(t, printDiagnosis(&out, d, false))
	golden.Equal(t, "doctor.txt", out.String())
	out.Reset()
	require.NoError(t, printDiagnosis(&out, d, true))
	golden.Equal(t, "doctor-colours.txt", out.String())
}
