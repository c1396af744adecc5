output "agent_url" {
  description = "What other services set DD_TRACE_AGENT_URL to."
  value       = local.agent_url
}

output "service_url" {
  description = "The service's URL."
  value       = google_cloud_run_v2_service.service.uri
}

output "service_account" {
  description = "The account that the service runs as."
  value       = google_service_account.service.email
}
