"""What people call things, over the wire: many of several kinds in one call, and none beyond one's reach."""

from dutyloop.directory.v1 import directory_pb2
from dutyloop.policy.v1 import policy_pb2
from tests.integration.house import Caller
from tests.integration.people import City, Place, appoint, register


async def called(city: City, caller: Caller, *names: str) -> dict[str, str]:
    request = directory_pb2.BatchGetDisplayNamesRequest(names=names)
    answer = await caller.calls(city.house.directory.BatchGetDisplayNames, request)
    found = {each.name: each.display_name for each in answer.display_names}
    assert len(found) == len(answer.display_names)
    return found


async def a_post(city: City, place: Place, title: str) -> str:
    post = directory_pb2.Post(unit=place.office, display_name=title, reach=directory_pb2.POST_REACH_UNIT)
    post.roles.append(policy_pb2.ROLE_DUTY_HOLDER)
    request = directory_pb2.CreatePostRequest(post=post)
    return (await city.house.operator.calls(city.house.directory.CreatePost, request)).name


async def things(city: City, place: Place) -> dict[str, str]:
    """Return a thing of every kind of a place, with what reading it by itself says that it is called."""
    directory, operator = city.house.directory, city.house.operator
    person = place.people[policy_pb2.ROLE_INSPECTOR].name
    read = (
        await operator.calls(directory.GetUnit, directory_pb2.GetUnitRequest(name=place.office)),
        await operator.calls(directory.GetPerson, directory_pb2.GetPersonRequest(name=person)),
        await operator.calls(directory.GetSite, directory_pb2.GetSiteRequest(name=place.site)),
        await operator.calls(directory.GetRegion, directory_pb2.GetRegionRequest(name=place.region)),
    )
    return {each.name: each.display_name for each in read} | {await a_post(city, place, "安全总监"): "安全总监"}


async def test_things_of_every_kind_are_called_by_their_names_in_one_call(city: City) -> None:
    """A table would show ids where people expect names, or ask once for every cell."""
    home = await things(city, city.home)
    assert len({name.partition("/")[0] for name in home}) == 5
    asked = [*home, *home, "units/absent", "hazards/absent"]
    assert await called(city, city.inspector, *asked) == home


async def test_of_next_door_only_the_region_is_told(city: City) -> None:
    """Whoever guesses ids would learn the names of a sibling city's people and enterprises."""
    next_door = await things(city, city.next_door)
    found = await called(city, city.inspector, *next_door)
    assert found == {city.next_door.region: next_door[city.next_door.region]}


async def test_everybody_is_told_his_own_name(city: City) -> None:
    """Somebody appointed away from his unit would be the only person without a name in his own list."""
    person = await register(city.house, city.next_door.office)
    await appoint(city.house, person, city.home.office, policy_pb2.ROLE_INSPECTOR)
    colleague = city.next_door.people[policy_pb2.ROLE_INSPECTOR].name
    assert list(await called(city, person, person.name, colleague)) == [person.name]
