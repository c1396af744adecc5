# The service that is traced.

locals {
  agent_url = var.sidecar ? "http://localhost:8126" : coalesce(var.agent_url, google_cloud_run_v2_service.agent[0].uri)

  service_env = merge(
    {
      DD_SERVICE         = var.service.name
      DD_ENV             = var.service.env
      DD_TRACE_AGENT_URL = local.agent_url
    },
    var.service.version == null ? {} : { DD_VERSION = var.service.version },
    var.sidecar || length(var.custom_audiences) == 0 ? {} : { OBS_AGENT_AUDIENCE = var.custom_audiences[0] },
    var.service.variables,
  )

  # Of variables that are secrets, the secret.
  service_secrets = var.token_cache ? {
    TOKEN_CACHE_URL = google_secret_manager_secret.token_cache["url"].secret_id
    TOKEN_CACHE_KEY = google_secret_manager_secret.token_cache["key"].secret_id
  } : {}

  sidecar_env = {
    DD_SITE        = var.datadog_site
    DD_SERVICE     = var.service.name
    DD_ENV         = var.service.env
    DD_HEALTH_PORT = "5555"
  }
}

resource "google_service_account" "service" {
  account_id   = var.service.name
  display_name = "Runs ${var.service.name}"

  depends_on = [google_project_service.api]
}

resource "google_secret_manager_secret_iam_member" "service_reads_api_key" {
  count     = var.sidecar ? 1 : 0
  secret_id = google_secret_manager_secret.api_key.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.service.member
}

resource "google_cloud_run_v2_service" "service" {
  name                = var.service.name
  location            = var.region
  deletion_protection = false

  template {
    service_account = google_service_account.service.email

    containers {
      name       = var.service.name
      image      = var.service.image
      args       = var.service.args
      depends_on = var.sidecar ? ["datadog"] : []

      ports {
        container_port = var.service.port
      }

      resources {
        cpu_idle = !var.service.cpu_always
      }

      dynamic "env" {
        for_each = local.service_env
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = local.service_secrets
        content {
          name = env.key
          value_source {
            secret_key_ref {
              secret  = env.value
              version = "latest"
            }
          }
        }
      }
    }

    dynamic "containers" {
      for_each = var.sidecar ? ["datadog"] : []
      content {
        name  = containers.value
        image = var.sidecar_image

        resources {
          limits = {
            cpu    = "1"
            memory = "512Mi"
          }
          cpu_idle = !var.service.cpu_always
        }

        startup_probe {
          period_seconds    = 2
          timeout_seconds   = 1
          failure_threshold = 30

          tcp_socket {
            port = 5555
          }
        }

        dynamic "env" {
          for_each = local.sidecar_env
          content {
            name  = env.key
            value = env.value
          }
        }

        env {
          name = "DD_API_KEY"
          value_source {
            secret_key_ref {
              secret  = google_secret_manager_secret.api_key.secret_id
              version = "latest"
            }
          }
        }
      }
    }

    dynamic "vpc_access" {
      for_each = var.token_cache ? [var.subnetwork] : []
      content {
        egress = "PRIVATE_RANGES_ONLY"

        network_interfaces {
          network    = var.network
          subnetwork = vpc_access.value
        }
      }
    }
  }

  depends_on = [
    google_cloud_run_v2_service_iam_member.invoker,
    google_secret_manager_secret_iam_member.service_reads_api_key,
    google_secret_manager_secret_iam_member.service_reads_token_cache,
    google_secret_manager_secret_version.token_cache_url,
    google_secret_manager_secret_version.token_cache_key,
    google_secret_manager_secret_version.api_key,
  ]
}

resource "google_cloud_run_v2_service_iam_member" "public" {
  count    = var.service.public ? 1 : 0
  name     = google_cloud_run_v2_service.service.name
  location = var.region
  role     = "roles/run.invoker"
  member   = "allUsers"
}
