package logging

import "log/slog"

// The levels of Cloud Logging that slog has no name for. Any other number
// belongs to the severity whose level is the next at or below it.
const (
	LevelNotice    = slog.Level(2)
	LevelCritical  = slog.Level(12)
	LevelAlert     = slog.Level(16)
	LevelEmergency = slog.Level(20)
)

// A severity is a LogSeverity of Cloud Logging.
//
// https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry#LogSeverity
type severity struct {
	from  slog.Level
	name  string // exactly as the agents want it
	head  string // of a line
	short string // five columns
	color string // SGR parameters
}

var severities = [...]severity{
	{-1 << 31, "DEBUG", `{"severity":"DEBUG",`, "DEBUG", "90"},
	{slog.LevelInfo, "INFO", `{"severity":"INFO",`, "INFO ", "32"},
	{LevelNotice, "NOTICE", `{"severity":"NOTICE",`, "NOTE ", "36"},
	{slog.LevelWarn, "WARNING", `{"severity":"WARNING",`, "WARN ", "33"},
	{slog.LevelError, "ERROR", `{"severity":"ERROR",`, "ERROR", "31"},
	{LevelCritical, "CRITICAL", `{"severity":"CRITICAL",`, "CRIT ", "1;31"},
	{LevelAlert, "ALERT", `{"severity":"ALERT",`, "ALERT", "1;31"},
	{LevelEmergency, "EMERGENCY", `{"severity":"EMERGENCY",`, "EMERG", "1;31"},
}

func severityOf(l slog.Level) *severity {
	if l == slog.LevelInfo { // nearly all
		return &severities[1]
	}
	i := len(severities) - 1
	for i > 0 && l < severities[i].from {
		i--
	}
	return &severities[i]
}
