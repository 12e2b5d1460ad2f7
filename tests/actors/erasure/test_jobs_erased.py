"""What jobs in the background have said of somebody who is erased goes with them."""

from contextlib import closing
from pathlib import Path

from actors.erasure.job import Report
from persistence.databases.jobs_changing import Added, JobChanges, NewJob
from persistence.databases.jobs_database import JobsDatabase
from persistence.databases.jobs_listing import JobLists
from persistence.journals.erasure_register import ErasureState, ErasureSubject
from tests.running_service import running

SESSION = "sess_of_somebody_0123456789abcdef"


async def test_a_job_that_names_an_erased_session_is_removed(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        client = await service.open(SESSION)
        await service.send(client.chunk())
        await service.send(client.close())
        with closing(JobsDatabase(tmp_path / "jobs.db", service.clock)) as database:
            for payload in (f'{{"session":"{SESSION}"}}', '{"session":"sess_of_another_0123456789ab"}'):
                new = NewJob(queue="work", name="do", payload=payload, attempts_max=5)
                assert isinstance(JobChanges(database).add(new, now=service.clock(), waiting_max=9), Added)
        asked = await service.service.ask_erasure(ErasureSubject.SESSION, SESSION)
        assert isinstance(asked, Report)
        await service.service.eraser.erase_pending()
        report = service.service.erasure(asked.erasure.request)
        assert report is not None
        assert (report.erasure.state, report.hindered) == (ErasureState.DONE, None)
        with closing(JobsDatabase(tmp_path / "jobs.db", service.clock)) as database:
            assert [job.job_id for job in JobLists(database).page(limit=9).jobs] == [2]
