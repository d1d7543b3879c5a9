"""The same three calls as Django REST framework would serve them; no authentication, no policy.

Run by gunicorn as ``tests.bench.peers.django_app:application``.
"""
# mypy: disable-error-code="import-untyped,misc,no-untyped-call"

from datetime import datetime, timedelta, timezone
from typing import Any

import django
from django.conf import settings

from tests.bench.peers.entry import ACTOR, entry_of, light_of, login

BEIJING = timezone(timedelta(hours=8))
name, folder, password = login()
settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.postgres", "rest_framework"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    USE_TZ=True,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "HOST": folder,
            "USER": "plan",
            "PASSWORD": password,
            "CONN_MAX_AGE": None,
            "OPTIONS": {"options": "-c search_path=plan"},
        }
    },
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "DEFAULT_PERMISSION_CLASSES": [],
        "UNAUTHENTICATED_USER": None,
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    },
)
django.setup()

from django.contrib.postgres.fields import ArrayField  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import connection, models, transaction  # noqa: E402
from django.db.models import Sum  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework import generics, serializers  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402


class AnnualList(models.Model):
    id = models.TextField(primary_key=True)
    task_count = models.IntegerField()

    class Meta:
        managed, db_table, app_label = False, "annual_task_list", "bench"


class Task(models.Model):
    id = models.TextField(primary_key=True)
    revision = models.BigIntegerField()
    annual_task_list_id = models.TextField()
    duty_item = models.TextField()
    title = models.TextField()
    unit = models.TextField()
    post = models.TextField()
    region_code = models.TextField()
    unit_path = models.TextField()
    scheduled_date = models.DateField()
    due_date = models.DateField()
    expected_evidence = ArrayField(models.TextField())
    state = models.TextField()
    progress_percent = models.IntegerField()
    remark = models.TextField()
    evidence_types = ArrayField(models.TextField())
    evidence_references = ArrayField(models.TextField())
    submitter = models.TextField()
    submit_time = models.DateTimeField(null=True)
    confirmer = models.TextField()
    done_time = models.DateTimeField(null=True)
    reject_reason = models.TextField()
    supervision_case = models.TextField()

    class Meta:
        managed, db_table, app_label = False, "task", "bench"

    @property
    def due_time(self) -> datetime:
        """Return the first instant after the term."""
        return datetime.combine(self.due_date + timedelta(days=1), datetime.min.time(), BEIJING)

    @property
    def light(self) -> str:
        return light_of(self.state, self.due_time.timestamp())[0]

    @property
    def overdue(self) -> bool:
        return light_of(self.state, self.due_time.timestamp())[1]


class TaskSerializer(serializers.ModelSerializer):
    due_time = serializers.DateTimeField(read_only=True)
    light = serializers.CharField(read_only=True)
    overdue = serializers.BooleanField(read_only=True)

    class Meta:
        model = Task
        exclude = ("unit_path",)


class ProgressSerializer(serializers.Serializer):
    request_id = serializers.CharField(max_length=128)
    task = serializers.CharField(max_length=200)
    progress_percent = serializers.IntegerField(min_value=0, max_value=99)
    remark = serializers.CharField(max_length=2000, allow_blank=True, default="")


class GetTask(generics.RetrieveAPIView):
    """Read one task."""

    queryset = Task.objects.all()
    serializer_class = TaskSerializer


class ListTasks(APIView):
    """Read a page of tasks, first due first."""

    def get(self, request: Any) -> Response:
        size, of = int(request.query_params.get("page_size", 100)), request.query_params["annual_list"]
        tasks = list(Task.objects.filter(annual_task_list_id=of).order_by("due_date", "id")[: size + 1])
        total = AnnualList.objects.filter(id=of).aggregate(total=Sum("task_count"))["total"]
        token = tasks[size - 1].id if len(tasks) > size else ""
        shown = TaskSerializer(tasks[:size], many=True).data
        return Response({"tasks": shown, "next_page_token": token, "total_size": total})


INSERT_COMMAND = """
INSERT INTO command (principal, method, request_id, body_hash, answer, receipts)
VALUES (%s, 'django', %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


class ReportProgress(APIView):
    """Note progress: the row, an audit row and the stored answer, in one transaction."""

    def post(self, request: Any) -> Response:
        given = ProgressSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        progress = given.validated_data
        with transaction.atomic():
            task = Task.objects.select_for_update().get(pk=progress["task"], state="OPEN")
            task.progress_percent, task.remark = progress["progress_percent"], progress["remark"]
            task.revision += 1
            task.save(update_fields=["progress_percent", "remark", "revision"])
            answer = TaskSerializer(task).data
            objects = [task.id, task.annual_task_list_id, task.duty_item, task.post]
            payload = {"progress_percent": task.progress_percent, "remark": task.remark, "overdue": task.overdue}
            entry = entry_of("progressed", objects, payload, task.region_code, task.unit_path, progress["request_id"])
            # Tables without a key of one column: Django's models do not fit them, its cursor does.
            with connection.cursor() as cursor:
                columns = ", ".join(entry)
                marks = ", ".join(["%s"] * len(entry))
                cursor.execute(f"INSERT INTO ledger.entry ({columns}) VALUES ({marks})", list(entry.values()))
                stored = repr(answer).encode()
                leaf = entry["leaf_hash"]
                cursor.execute(INSERT_COMMAND, [ACTOR, progress["request_id"], bytes(32), stored, [leaf]])
        return Response(answer)


urlpatterns = [
    path("tasks", ListTasks.as_view()),
    path("tasks/<str:pk>", GetTask.as_view()),
    path("progress", ReportProgress.as_view()),
]
application = get_wsgi_application()
