package logging

import "strings"

// reserved reports whether key, at the root, belongs to Cloud Logging or to
// Datadog and is written by the handler, or would be taken for what it is not:
// the agents read a time from timestamp, Datadog a severity from status.
//
// https://cloud.google.com/logging/docs/agent/logging/configuration#special-fields
// https://docs.datadoghq.com/logs/log_configuration/attributes_naming_convention/
func reserved(key string) bool {
	if len(key) < 4 {
		return false
	}
	switch key[0] {
	case '@':
		return key == "@type"
	case 'c':
		return key == "context"
	case 'd':
		switch key {
		case "dd.trace_id", "dd.span_id", "dd.service", "dd.env", "dd.version":
			return true
		}
	case 'h':
		return key == requestKey
	case 'k': // what we say of the line itself
		return strings.HasPrefix(key, "kumihimo.")
	case 'l':
		return strings.HasPrefix(key, "logging.googleapis.com/")
	case 'm':
		return key == "message"
	case 's':
		return key == "severity" || key == "status" || key == "serviceContext"
	case 't':
		switch key {
		case "time", "timestamp", "timestampSeconds", "timestampNanos", "timeNanos":
			return true
		}
	case '_':
		// So that what is renamed never meets another's own name.
		return reserved(strings.TrimLeft(key, "_"))
	}
	return false
}
